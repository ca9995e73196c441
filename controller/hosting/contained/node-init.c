/*
 * First process of a node, with the user of its agent and without a capability:
 *
 *   node-init PROGRAM [ARGUMENT...]
 *
 * Starts the program, hands every signal on to it, and reaps whatever ends in the node. It sleeps until there is one of
 * either: a thousand nodes at rest must not wake once a second for it. When the program has ended, it says how and ends
 * itself; the kernel then ends what is left in the node, which belongs to other users, so that no signal of this process
 * would reach it.
 *
 * Contract; each row is a test in test/contract/node-init.test.ts:
 *
 *   exit      the exit status is the program's, or 128 and the number of the signal that ended it
 *   words     the last line on standard error says which; it begins with "node-init: "
 *   signals   a signal that this process is sent reaches the program, but for those of a fault; the program has the signal mask
 *             and the dispositions that this process was started with
 *   orphans   a process whose parent has ended leaves no zombie
 *   rest      nothing wakes it but a signal
 *
 * Exit codes: the program's; 64 no program is named; 126 it can't be run; 71 there is no process for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_PROGRAM = 64, NO_PROCESS = 71, NOT_RUN = 126, BY_SIGNAL = 128 };

static pid_t start(char **arguments, const sigset_t *mask) {
  pid_t child = fork();
  if (child != 0) return child;
  sigprocmask(SIG_SETMASK, mask, NULL);
  execv(arguments[0], arguments);
  dprintf(STDERR_FILENO, "node-init: %s cannot be run: %s\n", arguments[0], strerror(errno));
  _exit(NOT_RUN);
}

/* Reaps all that have ended. Whether the program is one of them; its status is then in `status`. */
static int reap(pid_t program, int *status) {
  int has_ended = 0, one;
  for (pid_t pid; (pid = waitpid(-1, &one, WNOHANG)) > 0;) {
    if (pid != program) continue;
    has_ended = 1;
    *status = one;
  }
  return has_ended;
}

int main(int count, char **arguments) {
  if (count < 2) {
    dprintf(STDERR_FILENO, "node-init: no program is named\n");
    return NO_PROGRAM;
  }
  sigset_t all, before;
  sigfillset(&all);
  /* Of a fault of this process itself. From within the namespace the kernel passes none of them to its first process. */
  for (const int *fault = (const int[]){SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SIGSYS, 0}; *fault; fault++) sigdelset(&all, *fault);
  sigprocmask(SIG_SETMASK, &all, &before);
  /* Ignored, as whoever starts this may have left it, it would never come. */
  signal(SIGCHLD, SIG_DFL);
  pid_t program = start(arguments + 1, &before);
  if (program < 0) {
    dprintf(STDERR_FILENO, "node-init: there is no process for %s: %s\n", arguments[1], strerror(errno));
    return NO_PROCESS;
  }
  for (int status = 0;;) {
    siginfo_t signal;
    if (sigwaitinfo(&all, &signal) < 0) continue;
    if (signal.si_signo != SIGCHLD) {
      kill(program, signal.si_signo);
    } else if (reap(program, &status)) {
      if (WIFSIGNALED(status)) {
        dprintf(STDERR_FILENO, "node-init: the program was ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
        return BY_SIGNAL + WTERMSIG(status);
      }
      dprintf(STDERR_FILENO, "node-init: the program ended with exit status %d\n", WEXITSTATUS(status));
      return WEXITSTATUS(status);
    }
  }
}
