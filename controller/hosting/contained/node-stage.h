/* What the parts of node-stage have of each other: node-stage.c, node-volume.c and take-over.c. */
#pragma once
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* Exit codes; their meaning is the contract's in node-stage.c. */
enum {
  BAD_ARGUMENT = 64, IN_USE = 70, FOREIGN = 71, DAMAGED = 72, NO_DEVICE = 73, NO_VOLUME = 74,
  NO_ROOT = 75, NO_ENTRY = 76, NO_LAYER = 77, NOT_CHECKED = 78, DISK_FULL = 79,
};

struct node {
  pid_t pid;
  int loop;
  const char *shared_pages;
  unsigned char uuid[16];
  uid_t agent;
  const char *image, *volume, *config;
  int userns, mntns, ipcns;
};

/* Prints a line for people on standard error; names that others have chosen are shown without control characters. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The volume's image, from when on a failure may come of a full disk under it. */
extern const char *on_host;

/* The exit code for a failure. Looked at where it fails: a moment later there may be room again. */
int explained(int code);

#define fail(code, ...) (say(__VA_ARGS__), exit(explained(code)))
#define fail_by_errno(code, ...) (say("said: %s", strerror(errno)), say(__VA_ARGS__), exit(explained(code)))

/* Has this process killed when its parent ends; it ends at once where that is not its parent any more. */
void end_with(pid_t parent);

/* Opens a name in a folder that somebody in the node has written. It follows no link and leaves neither folder nor mount. */
int below(int folder, const char *name, int flags);

/*
 * The place of a folder, which is made where it is missing. Anything else there was put there by somebody in the node:
 * it is not opened.
 */
int folder(int parent, const char *name, const char *shown);

/* Returns the mount of the volume, whose owners are not mapped yet. */
int open_volume(const struct node *node);

/* The volume is as before but for marks and owners that are written anew: the work can be done again. */
enum taken_over { TAKEN_OVER, NOT_TAKEN_OVER, UNREADABLE_LAYER };

/*
 * Before the agent's folders are given to it. `root`: the volume's, `hidden`: `.root` there. With NOT_TAKEN_OVER errno is
 * set; UNREADABLE_LAYER has said which names.
 */
enum taken_over take_over(int root, int hidden, uid_t agent);
