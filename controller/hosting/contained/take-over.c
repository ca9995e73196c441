/*
 * Takes over the volume of a node of version 0.1, whose overlay was mounted by root of the host; once for each volume.
 *
 * Overlay keeps what it needs to know about a layer in extended attributes: `trusted.overlay.*` where root of the host
 * mounts it, `user.overlay.*` where root of a node does. Therefore
 *
 *   - an opaque folder, which replaces one of the image, gets the mark of the new kind;
 *   - `user.overlay.*` is removed: it was plain data, which anybody in the node could set, and would now be believed;
 *   - a layer with renamed folders (`redirect`) or files without content (`metacopy`) is refused: mounts of a node's root
 *     follow neither, and would show the wrong folder or zeros. Nexus never asked for them, but some kernels have them
 *     on by default;
 *   - other marks only keep inode numbers, and are left.
 *
 * Ids were the host's own, of which a node now has those up to 65534 and its agent's. What belongs to another one could be
 * neither read nor removed in the node, so that it is given to nobody; what is in the agent's folders, to the agent. The
 * latter whenever the volume has got another agent, as its node was restored with another slot.
 *
 * Root of that node made the tree and may have meant ill: the walk needs one descriptor for any depth, and opens nothing
 * but folders, each by one name that is no link. Nothing of the node runs meanwhile.
 */
#define _GNU_SOURCE
#include "node-stage.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OF_HOST "trusted.overlay."
#define OF_NODE "user.overlay."
/* On the layer's parent: its marks are those of a node's root. No root of a node can set it. */
#define IS_OF_NODE "trusted.nexus.layer"

/* Of `nobody`, and the largest one but the agent's; see IDS_OF_RANGE in bundle.ts. */
enum { NOBODY = 65534 };
/* Names of folders that are still to be visited. A million of them with long names. */
enum { MOST_NAMES = 256 << 20, MOST_SHOWN = 5 };

/* What something is part of. */
enum tree { VOLUME, HIDDEN, LAYER, OF_AGENT, OTHER };

/* A folder that the walk is in or below. */
struct level {
  ino_t inode;
  enum tree tree;
  /* Where the names of its folders begin in `names`. */
  size_t names;
};

struct walk {
  uid_t agent, former_agent;
  gid_t former_group;
  /* Whether only the agent has changed. */
  int is_of_node;
  /* The last one is the process's current folder. */
  struct level *levels;
  size_t depth, level_room;
  /* Each ends with a zero byte. Those of the last level come last. */
  char *names;
  size_t used, name_room;
  uint64_t folders, most_folders;
  uint64_t unreadable, given;
};

/* What a name in the current folder is part of. */
static enum tree tree_of(const struct walk *walk, const char *name) {
  enum tree tree = walk->levels[walk->depth - 1].tree;
  if (tree == HIDDEN) return strcmp(name, "upper") ? OTHER : LAYER;
  if (tree != VOLUME) return tree;
  if (!strcmp(name, ".root")) return HIDDEN;
  return strcmp(name, "chunks") && strcmp(name, "tmp") && strcmp(name, ".agent") ? OTHER : OF_AGENT;
}

static void *grown(void *array, size_t *room, size_t needed, size_t bytes) {
  if (needed <= *room) return array;
  size_t wanted = needed * 2 < 1024 ? 1024 : needed * 2;
  void *larger = realloc(array, wanted * bytes);
  if (larger) *room = wanted;
  return larger;
}

static int remember(struct walk *walk, const char *name) {
  size_t length = strlen(name) + 1;
  if (walk->used + length > MOST_NAMES) return errno = EFBIG, -1;
  char *names = grown(walk->names, &walk->name_room, walk->used + length, 1);
  if (!names) return -1;
  walk->names = names;
  memcpy(names + walk->used, name, length);
  walk->used += length;
  return 0;
}

/* The next name of the current folder's, which ends where it begins; undone with the next `remember`. */
static const char *next_name(struct walk *walk) {
  size_t least = walk->levels[walk->depth - 1].names;
  if (walk->used == least) return NULL;
  size_t at = walk->used - 1;
  while (at > least && walk->names[at - 1]) at--;
  walk->used = at;
  return walk->names + at;
}

static void show(struct walk *walk, const char *name, const char *mark) {
  if (++walk->unreadable > MOST_SHOWN) return;
  char folder[PATH_MAX];
  ssize_t length = readlink("/proc/self/cwd", folder, sizeof folder - 1);
  folder[length < 0 ? 0 : length] = 0;
  const char *inside = strstr(folder, "/upper"), *above = inside ? inside + strlen("/upper") : "...";
  say("%s/%s has the mark %s%s", above, name, OF_HOST, mark);
}

static int take_over_owner(struct walk *walk, const char *name, const struct stat *seen, enum tree tree) {
  uid_t user = seen->st_uid;
  gid_t group = seen->st_gid;
  if ((user > NOBODY && user != walk->agent) || (tree == OF_AGENT && user == walk->former_agent)) user = tree == OF_AGENT ? walk->agent : NOBODY;
  if ((group > NOBODY && group != walk->agent) || (tree == OF_AGENT && group == walk->former_group)) group = tree == OF_AGENT ? walk->agent : NOBODY;
  if (user == seen->st_uid && group == seen->st_gid) return 0;
  walk->given += tree != OF_AGENT;
  /* A program that somebody was to become loses that bit. */
  return lchown(name, user, group);
}

static int take_over_marks(struct walk *walk, const char *name, const struct stat *seen) {
  static char list[XATTR_LIST_MAX];
  ssize_t length = llistxattr(name, list, sizeof list);
  if (length < 0) return errno == ENOTSUP ? 0 : -1;
  int is_opaque = 0, is_redirect = 0;
  for (const char *mark = list; mark < list + length; mark += strlen(mark) + 1) {
    if (!strncmp(mark, OF_NODE, strlen(OF_NODE)) && lremovexattr(name, mark) < 0) return -1;
    is_opaque |= !strcmp(mark, OF_HOST "opaque");
    is_redirect |= !strcmp(mark, OF_HOST "redirect");
    if (!strcmp(mark, OF_HOST "metacopy")) show(walk, name, "metacopy");
  }
  if (!is_opaque && !is_redirect) return 0;
  /* Of a file it tells only where its content is; a folder that is opaque has nothing below that it would lead to. */
  if (!S_ISDIR(seen->st_mode)) return 0;
  if (!is_opaque) return show(walk, name, "redirect"), 0;
  char value[2];
  ssize_t got = lgetxattr(name, OF_HOST "opaque", value, sizeof value);
  if (got < 0) return errno == ERANGE ? 0 : -1;
  return lsetxattr(name, OF_NODE "opaque", value, got, 0);
}

/* Works on one name of the current folder. */
static int take_over_name(struct walk *walk, const char *name) {
  struct stat seen;
  enum tree tree = tree_of(walk, name);
  if (walk->is_of_node && tree != OF_AGENT) return 0;
  if (lstat(name, &seen) < 0 || take_over_owner(walk, name, &seen, tree) < 0) return -1;
  if (tree == LAYER && take_over_marks(walk, name, &seen) < 0) return -1;
  return S_ISDIR(seen.st_mode) ? remember(walk, name) : 0;
}

/* Enters a folder by its descriptor, which is closed, and works on each name in it. */
static int enter(struct walk *walk, int folder, enum tree tree) {
  struct stat seen;
  struct level *levels = grown(walk->levels, &walk->level_room, walk->depth + 1, sizeof *levels);
  if (levels) walk->levels = levels;
  DIR *entries = levels && fstat(folder, &seen) == 0 && fchdir(folder) == 0 ? fdopendir(folder) : NULL;
  if (!entries) return close(folder), -1;
  walk->levels[walk->depth++] = (struct level){.inode = seen.st_ino, .tree = tree, .names = walk->used};
  /* More folders than the file system has inodes: it is damaged, and leads in a circle. */
  int failed = ++walk->folders > walk->most_folders ? (errno = ELOOP, -1) : 0;
  while (!failed) {
    errno = 0;
    struct dirent *entry = readdir(entries);
    if (!entry) {
      failed = errno ? -1 : 0;
      break;
    }
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    failed = take_over_name(walk, entry->d_name);
  }
  int reason = errno;
  closedir(entries);
  errno = reason;
  return failed;
}

static int open_folder(const char *name, int flags) { return open(name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }

static int leave(struct walk *walk) {
  walk->depth--;
  if (walk->depth == 0) return 0;
  struct stat seen;
  int above = open_folder("..", O_PATH);
  if (above < 0 || fstat(above, &seen) < 0 || fchdir(above) < 0) return close(above), -1;
  close(above);
  return seen.st_ino == walk->levels[walk->depth - 1].inode ? 0 : (errno = ESTALE, -1);
}

/* Leaves the process in any of the folders. */
static int visit(struct walk *walk, int start) {
  struct statvfs system;
  if (fstatvfs(start, &system) < 0 || fchdir(start) < 0) return -1;
  walk->most_folders = system.f_files;
  int folder = open_folder(".", O_RDONLY);
  if (folder < 0 || enter(walk, folder, VOLUME) < 0) return -1;
  while (walk->depth > 0) {
    const char *name = next_name(walk);
    if (!name) {
      if (leave(walk) < 0) return -1;
      continue;
    }
    enum tree tree = tree_of(walk, name);
    if ((folder = open_folder(name, O_RDONLY | O_NOATIME)) < 0 || enter(walk, folder, tree) < 0) return -1;
  }
  return 0;
}

enum taken_over take_over(int root, int hidden, uid_t agent) {
  struct stat chunks;
  if (fstatat(root, "chunks", &chunks, AT_SYMLINK_NOFOLLOW) < 0) return NOT_TAKEN_OVER;
  struct walk walk = {.agent = agent, .former_agent = chunks.st_uid, .former_group = chunks.st_gid};
  walk.is_of_node = fgetxattr(hidden, IS_OF_NODE, NULL, 0) >= 0;
  if (walk.is_of_node && walk.former_agent == agent) return TAKEN_OVER;
  int back = open_folder(".", O_PATH);
  int failed = back < 0 || visit(&walk, root) < 0, reason = errno;
  free(walk.levels), free(walk.names);
  if (back >= 0 && fchdir(back) < 0) failed = 1;
  close(back);
  errno = reason;
  if (failed) return NOT_TAKEN_OVER;
  if (walk.unreadable > MOST_SHOWN) say("... and %llu more", (unsigned long long)walk.unreadable - MOST_SHOWN);
  if (walk.unreadable) return UNREADABLE_LAYER;
  if (walk.given) say("%llu files belonged to ids above %d, which a node has no more, and are nobody's now", (unsigned long long)walk.given, NOBODY);
  return walk.is_of_node || fsetxattr(hidden, IS_OF_NODE, "1", 1, 0) == 0 ? TAKEN_OVER : NOT_TAKEN_OVER;
}
