/*
 * Puts a node's own file system together inside the namespaces of its container, whose agent waits for that:
 *
 *   node-stage PARENT PID START-TICKS LOOP-NUMBER UUID AGENT-UID SHARED-PAGES IMAGE VOLUME CONFIG
 *
 * PARENT   process that started it
 * PID      first process of the container; its namespaces are the node's. It may have started the agent, which loads its code
 *          from the runtime folder and waits for /.nexus/run; no code of the node runs.
 * START-TICKS  when it was started, as /proc/PID/stat has it: another process may have got its number
 * SHARED-PAGES  limit of all System V segments of the node; its own root can neither see nor change it
 * IMAGE    folder of the image, read-only and shared by nodes
 * VOLUME   image file of the node's ext4 volume
 * CONFIG   folder with agent.json, agent.creds and etc/
 *
 * The program runs on the host as root. What needs the host's privileges (loop device, ext4, id-mapped mounts) it does
 * in the host's own namespaces, by descriptors; what is left, its child does as root of the node's user namespace, who
 * is nobody on the host. No code of the node runs meanwhile. Names below the volume's and the node's root are looked up
 * with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, as whoever is root in the node wrote them.
 *
 * Contract; each row is a test in test/contract/node-stage.test.ts:
 *
 *   process   nothing is entered or written of a process that began at another time, of one in the host's user namespace,
 *             or whose other namespaces are not its user namespace's                                  76
 *   lock      the volume's file is locked with its loop device, from before the first look at it until the device
 *             detaches: two nodes never mount one volume                                              70
 *   identity  a volume with another UUID, or without ext4, is refused                                 71
 *   journal   the kernel replays it, and keeps it while the disk under the volume is full             79
 *   damage    a volume that was not unmounted is checked by e2fsck -p then; one that is damaged       72
 *   check     an e2fsck that cannot do its work says nothing about the volume                         78
 *   device    a loop device with something else on it is refused and left alone                       73
 *   volume    mounted nosuid, nodev; every name that is used in it is a folder afterwards,
 *             not a link, and nothing else in its place is opened                                   74
 *   layer     a layer that an earlier version wrote as root of the host reads the same, removed folders included, however
 *             deep it is; one that cannot is refused                                                77
 *   root      overlay of the image and the volume's own layer, mounted by the node's root; all that runs already has it at
 *             once, and /.nexus/run is there afterwards                                              75
 *   owners    ids 0 to 65534 on disk, and the agent's, are the same in the node. What an earlier version gave to others is
 *             nobody's afterwards, and in the agent's folders the agent's, as what was another agent's
 *   reach     the node has no way to the volume's image, its device, the layer or the old root
 *   room      whatever fails from the check on while the host's disk under the volume is full is not the volume's fault  79
 *   end       it ends with its parent, also with one that has ended before, and its children with it
 *   failure   leaves no mount and no device once the container is gone; the last line on standard error is for people
 *
 *   shared    SHARED-PAGES is the limit in the node's IPC namespace
 *
 * For nexus doctor, as root: `node-stage try-owners FOLDER` ends with 0 if the file system of the folder lets the owners of
 * a mount be mapped, with 75 and the reason if not, and with 76 without a user namespace. Nothing is mounted anywhere.
 *
 * Exit codes: 0; 64 an argument is missing or malformed; 70 to 79 as above; 76 also if the node's namespaces cannot be entered.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "node-stage.h"

/* As FULL_BYTES of the controller, which starts a node again once its disk has more. */
enum { FULL_BYTES = 4 << 20 };
/* What starting takes while the node's own files have all inodes or blocks: released first, taken again at the end. */
enum { RESERVED_INODES = 24, RESERVED_BYTES = 262144 };
void say(const char *format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  for (unsigned char *at = (unsigned char *)line; *at; at++) if (*at < ' ' || *at == 127) *at = '?';
  dprintf(STDERR_FILENO, "first-stage: %s\n", line);
}
const char *on_host;
int explained(int code) {
  struct statvfs disk;
  int is_of_volume = code == DAMAGED || code == NO_VOLUME || code == NO_ROOT || code == NO_LAYER || code == NOT_CHECKED;
  if (!is_of_volume || !on_host || statvfs(on_host, &disk) < 0 || (unsigned long long)disk.f_bavail * disk.f_frsize >= FULL_BYTES) return code;
  say("the host's disk under its volume is full");
  return DISK_FULL;
}

/* Whoever is killed leaves nothing that works on: a volume would be in use, or half repaired while the next one checks it. */
void end_with(pid_t parent) {
  /* In this order: a parent that ended before the call sends no signal any more. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent) fail(NO_ENTRY, "the process that started this has ended");
}

static long number(const char *text, long least, long most, const char *name) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || end == text || *end || value < least || value > most) fail(BAD_ARGUMENT, "%s must be a number from %ld to %ld", name, least, most);
  return value;
}

static void read_uuid(const char *text, unsigned char *uuid) {
  int digits = 0;
  for (; *text; text++) {
    if (*text == '-') continue;
    const char *hex = "0123456789abcdef", *at = strchr(hex, *text | 0x20);
    if (!at || digits == 32) fail(BAD_ARGUMENT, "UUID must have 32 hexadecimal digits");
    uuid[digits / 2] = uuid[digits / 2] << 4 | (at - hex);
    digits++;
  }
  if (digits != 32) fail(BAD_ARGUMENT, "UUID must have 32 hexadecimal digits");
}

/* ---- The host's side: what needs root of the host, beside node-volume.c. ---- */

int below(int folder, const char *name, int flags) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
  return syscall(SYS_openat2, folder, name, &how, sizeof how);
}

int folder(int parent, const char *name, const char *shown) {
  int found = below(parent, name, O_PATH | O_DIRECTORY);
  if (found >= 0) return found;
  if (errno == ELOOP || errno == ENOTDIR) {
    if (unlinkat(parent, name, 0) < 0) return -1;
    say("%s was not a folder; what was in its place is removed", shown);
  } else if (errno != ENOENT) return -1;
  if (mkdirat(parent, name, 0755) < 0) return -1;
  return below(parent, name, O_PATH | O_DIRECTORY);
}

/*
 * Whose limit the file is depends on the IPC namespace of who opens it. Who may: in older kernels root of the host
 * alone, in newer ones root of the user namespace alone. The node itself sees the file read-only.
 */
static int limit_shared(const struct node *node) {
  int file = open("/proc/sys/kernel/shmall", O_WRONLY | O_CLOEXEC);
  ssize_t length = strlen(node->shared_pages), written = write(file, node->shared_pages, length);
  close(file);
  return written == length ? 0 : -1;
}

static void map_ids(const struct node *node, int mount, unsigned long long attributes, int code, const char *what) {
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP | attributes, .userns_fd = node->userns};
  if (mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0) fail_by_errno(code, "the owners of %s cannot be mapped", what);
}

static int clone_of(const char *path, int code) {
  int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) fail_by_errno(code, "%s cannot be opened", path);
  return tree;
}

/* ---- The node's side: root of the node's user namespace, without any privilege on the host. ---- */

static int place(int tree, const char *to) { return move_mount(tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH); }
static int place_at(int tree, int target) { return move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH); }

static int overlay(void) {
  int context = fsopen("overlay", FSOPEN_CLOEXEC);
  if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "source", "overlay", 0) < 0 || fsconfig(context, FSCONFIG_SET_STRING, "lowerdir", "/image", 0) < 0 || fsconfig(context, FSCONFIG_SET_STRING, "upperdir", "/volume/.root/upper", 0) < 0 ||
      fsconfig(context, FSCONFIG_SET_STRING, "workdir", "/volume/.root/work", 0) < 0 || fsconfig(context, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0 ||
      /* An index that an earlier version made, where the kernel does so by default, has marks of the other kind. */
      fsconfig(context, FSCONFIG_SET_STRING, "index", "off", 0) < 0 ||
      fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
    return -1;
  return fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV);
}

static int tmpfs_hidden(void) {
  int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
  if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "source", "hidden", 0) < 0 || fsconfig(context, FSCONFIG_SET_STRING, "size", "4k", 0) < 0 || fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
      fsconfig(context, FSCONFIG_SET_STRING, "mode", "700", 0) < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
    return -1;
  return fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/*
 * Host name and name servers are the runtime's, whatever the image or the node's last run left there. They can be
 * written to, and begin anew with each start. A node without them is better than none.
 */
static void set_names(int root) {
  static const char *const names[] = {"hosts", "hostname", "resolv.conf"};
  int from = open("/.nexus/config/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (from < 0) return;
  int etc = below(root, "etc", O_PATH | O_DIRECTORY);
  if (etc < 0 && errno == ENOENT && mkdirat(root, "etc", 0755) == 0) etc = below(root, "etc", O_PATH | O_DIRECTORY);
  if (etc < 0 || mkdir("/.nexus/etc", 0755) < 0) {
    say("/etc is not a folder; hosts, hostname and resolv.conf are not set");
    return;
  }
  for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
    char text[65536], path[64];
    snprintf(path, sizeof path, "/.nexus/etc/%s", names[at]);
    int source = openat(from, names[at], O_RDONLY | O_CLOEXEC), copy = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    ssize_t length = read(source, text, sizeof text);
    int target = below(etc, names[at], O_PATH | O_NOFOLLOW);
    struct stat seen;
    if (target >= 0 && fstat(target, &seen) == 0 && !S_ISREG(seen.st_mode) && unlinkat(etc, names[at], 0) == 0) target = -1;
    if (target < 0) {
      unlinkat(etc, names[at], 0);
      close(openat(etc, names[at], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
      target = below(etc, names[at], O_PATH | O_NOFOLLOW);
    }
    int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (length < 0 || write(copy, text, length) != length || fstat(target, &seen) < 0 || !S_ISREG(seen.st_mode) || place_at(tree, target) < 0)
      say("/etc/%s cannot be set: %s", names[at], strerror(errno));
    close(source), close(copy), close(target), close(tree);
  }
}

static void take_reserve(void) {
  int reserve = open("/volume/.root/reserve", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char name[8];
  for (int at = 0; at < RESERVED_INODES; at++) {
    snprintf(name, sizeof name, "%d", at);
    int file = openat(reserve, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) break;
    if (at == 0 && fallocate(file, 0, 0, RESERVED_BYTES) < 0) unlinkat(reserve, name, 0);
    close(file);
  }
  close(reserve);
}

static void assemble(const struct node *node, pid_t parent, int is_limited, int image, int volume, int config) {
  end_with(parent);
  /* The first process may not be traced or looked into by the node, nor this one while it holds the host's descriptors. */
  if (setns(node->userns, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
    fail_by_errno(NO_ENTRY, "the node's namespaces cannot be entered");
  /* The kernel forgets it when a process changes who it is. */
  end_with(parent);
  if (!is_limited && limit_shared(node) < 0) fail_by_errno(NO_ENTRY, "shared memory cannot be limited");
  if (setns(node->mntns, CLONE_NEWNS) < 0) fail_by_errno(NO_ENTRY, "the node's namespaces cannot be entered");
  umask(0);
  if (place(volume, "/volume") < 0 || place(image, "/image") < 0 || mkdir("/.nexus/config", 0755) < 0 || place(config, "/.nexus/config") < 0)
    fail_by_errno(NO_ROOT, "the node's parts cannot be mounted");
  int tree = overlay();
  if (tree < 0 || place(tree, "/root") < 0) fail_by_errno(NO_ROOT, "the writable root cannot be mounted; the kernel's log may tell why");
  int root = open("/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
  static const char *const places[] = {"proc", "dev", "sys", "tmp", ".nexus", "data"};
  int targets[6];
  for (int at = 0; at < 6; at++) {
    char shown[16];
    snprintf(shown, sizeof shown, "/%s", places[at]);
    if ((targets[at] = folder(root, places[at], shown)) < 0) fail_by_errno(NO_ROOT, "the mount point %s cannot be made: is the volume full?", shown);
  }
  set_names(root);
  take_reserve();
  int data = open_tree(AT_FDCWD, "/volume", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (data < 0 || place_at(data, targets[5]) < 0) fail_by_errno(NO_ROOT, "/data cannot be bound");
  /* By the mount itself: the name /root/data/.root is the volume's own and was made above. */
  int layer = openat(data, ".root", O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
  if (layer < 0 || place_at(tmpfs_hidden(), layer) < 0) fail_by_errno(NO_ROOT, "/data/.root cannot be hidden");
  /* Copies: whatever runs already finds its names in the old root until the root is another one, and then all of them there. */
  for (int at = 0; at < 5; at++) {
    char from[16];
    snprintf(from, sizeof from, "/%s", places[at]);
    int part = open_tree(AT_FDCWD, from, OPEN_TREE_CLOEXEC | OPEN_TREE_CLONE | AT_RECURSIVE);
    if (part < 0 || place_at(part, targets[at]) < 0) fail_by_errno(NO_ROOT, "%s cannot be mounted in the writable root", from);
  }
  /* The new root is put on the old one, which is then below it and let go. It becomes that of all that runs already, too. */
  if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
    fail_by_errno(NO_ROOT, "the root cannot be changed");
  /* The agent waits for this name, and writes there. */
  if (mkdir("/.nexus/run.new", 0755) < 0 || chown("/.nexus/run.new", node->agent, node->agent) < 0 || rename("/.nexus/run.new", "/.nexus/run") < 0)
    fail_by_errno(NO_ROOT, "/.nexus/run cannot be made");
}

/* ---- The first process of the container. ---- */

static int is_started_at(int process, const char *ticks) {
  char text[1024];
  int file = openat(process, "stat", O_RDONLY | O_CLOEXEC);
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return 0;
  text[length] = 0;
  /* The name in parentheses may have spaces and parentheses itself: fields count from the last one. */
  char *rest = strrchr(text, ')'), *field = rest ? strtok(rest + 1, " ") : NULL;
  for (int at = 0; field && at < 19; at++) field = strtok(NULL, " ");
  return field && !strcmp(field, ticks);
}

static int is_same_file(int one, int other) {
  struct stat first, second;
  return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static int namespace_of(int process, const char *path, const struct node *node) {
  int opened = openat(process, path, O_RDONLY | O_CLOEXEC);
  if (opened < 0) fail_by_errno(NO_ENTRY, "process %d has no namespaces of a node", node->pid);
  return opened;
}

/* Opens its namespaces. The folder in /proc remains that process's, whoever gets its number later. */
static void find_namespaces(struct node *node, const char *ticks) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d", node->pid);
  int process = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), own = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
  if (process < 0 || !is_started_at(process, ticks)) fail(NO_ENTRY, "process %d is not the node's: the node's has ended", node->pid);
  node->userns = namespace_of(process, "ns/user", node);
  node->mntns = namespace_of(process, "ns/mnt", node);
  node->ipcns = namespace_of(process, "ns/ipc", node);
  if (own < 0 || is_same_file(own, node->userns)) fail(NO_ENTRY, "process %d is in the user namespace of the host", node->pid);
  for (int at = 0; at < 2; at++) {
    int owner = ioctl(at == 0 ? node->mntns : node->ipcns, NS_GET_USERNS);
    if (owner < 0 || !is_same_file(owner, node->userns)) fail(NO_ENTRY, "process %d has namespaces of others", node->pid);
    close(owner);
  }
  close(process), close(own);
}

/* ---- The trial. ---- */

/* Into the process, whose user namespace has no ids yet: of the host's that a node could have. */
static void give_ids(pid_t process, const char *file) {
  static const char ids[] = "0 1879048192 65536";
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/%s", process, file);
  int map = open(path, O_WRONLY | O_CLOEXEC);
  if (map < 0 || write(map, ids, sizeof ids - 1) != sizeof ids - 1) fail_by_errno(NO_ENTRY, "a user namespace cannot be given ids");
  close(map);
}

static int try_owners(const char *folder) {
  int ready[2];
  pid_t parent = getpid(), child = pipe2(ready, O_CLOEXEC) < 0 ? -1 : fork();
  if (child == 0) {
    end_with(parent);
    if (unshare(CLONE_NEWUSER) < 0) fail_by_errno(NO_ENTRY, "a user namespace cannot be made");
    /* The kernel forgets it when a process changes who it is. */
    end_with(parent);
    close(ready[1]);
    for (;;) pause();
  }
  close(ready[1]);
  char none;
  /* Its end of the pipe is closed once it has the namespace, or has ended. */
  if (child < 0 || read(ready[0], &none, 1) != 0) fail_by_errno(NO_ENTRY, "a user namespace cannot be made");
  if (waitpid(child, NULL, WNOHANG) != 0) return NO_ENTRY;
  give_ids(child, "uid_map"), give_ids(child, "gid_map");
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/ns/user", child);
  struct node node = {.userns = open(path, O_RDONLY | O_CLOEXEC)};
  map_ids(&node, clone_of(folder, NO_ROOT), 0, NO_ROOT, folder);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  return 0;
}

int main(int count, char **arguments) {
  if (count == 3 && !strcmp(arguments[1], "try-owners")) return try_owners(arguments[2]);
  if (count != 11) fail(BAD_ARGUMENT, "ten arguments are needed: PARENT PID START-TICKS LOOP-NUMBER UUID AGENT-UID SHARED-PAGES IMAGE VOLUME CONFIG");
  pid_t starter = number(arguments[1], 1, INT32_MAX, "PARENT");
  struct node node = {
      .pid = number(arguments[2], 2, INT32_MAX, "PID"),
      .loop = number(arguments[4], 0, 1048575, "LOOP-NUMBER"),
      .agent = number(arguments[6], 1, INT32_MAX, "AGENT-UID"),
      .shared_pages = arguments[7],
      .image = arguments[8], .volume = arguments[9], .config = arguments[10],
  };
  number(arguments[3], 1, INT64_MAX, "START-TICKS");
  read_uuid(arguments[5], node.uuid);
  number(node.shared_pages, 1, INT32_MAX, "SHARED-PAGES");
  end_with(starter);
  find_namespaces(&node, arguments[3]);

  if (setns(node.ipcns, CLONE_NEWIPC) < 0) fail_by_errno(NO_ENTRY, "the node's namespaces cannot be entered");
  int is_limited = limit_shared(&node) == 0;
  int volume = open_volume(&node);
  map_ids(&node, volume, 0, NO_VOLUME, "the volume");
  int image = clone_of(node.image, NO_ROOT);
  map_ids(&node, image, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, NO_ROOT, "the image");
  int config = clone_of(node.config, NO_ROOT);
  struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
  if (mount_setattr(config, "", AT_EMPTY_PATH, &read_only, sizeof read_only) < 0) fail_by_errno(NO_ROOT, "the agent's configuration cannot be mounted");

  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    assemble(&node, parent, is_limited, image, volume, config);
    exit(0);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) < 0) fail_by_errno(NO_ENTRY, "the node's namespaces cannot be entered");
  return WIFEXITED(status) ? explained(WEXITSTATUS(status)) : NO_ENTRY;
}
