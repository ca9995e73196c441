/*
 * Makes the file system of a folder durable, as often as it is asked. The agent starts it, because Node.js can't:
 *
 *   volume-sync FOLDER
 *
 * Each byte on standard input is answered, in order, by a line on standard output: the errno of syncfs(2), 0 for none.
 * The folder stays open: the kernel tells of a failed write to every descriptor that was opened before it, once, whoever
 * else has been told. Ends when its input does. The folder is not to be had by whoever looks into this process.
 *
 * Exit codes: 0 the input has ended; 64 no folder is named; 66 it can't be opened; 74 the answer can't be written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NO_FOLDER_NAMED = 64, NO_FOLDER = 66, NO_ANSWER = 74 };

int main(int count, char **arguments) {
  if (count < 2) return NO_FOLDER_NAMED;
  prctl(PR_SET_DUMPABLE, 0);
  int folder = open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return NO_FOLDER;
  for (;;) {
    char asked;
    ssize_t size = read(STDIN_FILENO, &asked, 1);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return 0;
    int failure = syncfs(folder) == 0 ? 0 : errno;
    if (dprintf(STDOUT_FILENO, "%d\n", failure) < 0) return NO_ANSWER;
  }
}
