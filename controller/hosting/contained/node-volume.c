/*
 * The volume of a node, on the side of the host: locks, identifies, attaches and checks it, mounts it without a place in
 * the host's tree, and makes what a node needs in it. Its rows of the contract stand in node-stage.c.
 */
#define _GNU_SOURCE
#include "node-stage.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 5000, STEP_MS = 10 };


static int open_locked(const struct node *node) {
  int file = open(node->volume, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) fail_by_errno(IN_USE, "the volume's image cannot be opened");
  /* The loop device keeps this open file, and so the lock, until it detaches: a node that was killed a moment ago. */
  for (int waited = 0; flock(file, LOCK_EX | LOCK_NB); waited += STEP_MS) {
    if (errno != EWOULDBLOCK || waited >= WAIT_MS) fail(IN_USE, "the volume is in use by another node; stop that node first");
    nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
  }
  return file;
}

enum { MUST_RECOVER = 1, MUST_CHECK = 2 };

/* Superblock of ext4 at byte 1024: magic at 56, state at 58, features that need support at 96, UUID at 104. */
static int condition_of(int file, const struct node *node) {
  unsigned char block[120];
  if (pread(file, block, sizeof block, 1024) != sizeof block || block[56] != 0x53 || block[57] != 0xef)
    fail(FOREIGN, "the volume has no ext4 file system");
  if (memcmp(block + 104, node->uuid, 16) != 0) {
    char found[33];
    for (int at = 0; at < 16; at++) sprintf(found + 2 * at, "%02x", block[104 + at]);
    fail(FOREIGN, "the volume has UUID %s, not this node's; give the node its own volume back", found);
  }
  int is_valid = block[58] & 1, has_errors = block[58] & 2, must_recover = block[96] & 4;
  return (must_recover ? MUST_RECOVER : 0) | (!is_valid || has_errors || must_recover ? MUST_CHECK : 0);
}

static int attach(const struct node *node, int file, char *device, size_t size) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0 || (ioctl(control, LOOP_CTL_ADD, node->loop) < 0 && errno != EEXIST))
    fail_by_errno(NO_DEVICE, "the host gives no loop device %d", node->loop);
  close(control);
  snprintf(device, size, "/dev/loop%d", node->loop);
  int loop = open(device, O_RDWR | O_CLOEXEC);
  if (loop < 0) fail_by_errno(NO_DEVICE, "%s cannot be opened", device);
  /* Direct I/O: without a second copy of every page in the host's cache, where the file system below can do that. */
  struct loop_config config = {.fd = file, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO}};
  snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%.63s", node->volume);
  if (ioctl(loop, LOOP_CONFIGURE, &config) < 0)
    fail_by_errno(NO_DEVICE, "%s cannot be attached; is it in use by something else? The setting loop-base chooses other devices", device);
  return loop;
}

/* Bits of its exit status, e2fsck(8); those above tell of itself: 8 an operation failed, 16 misuse, 32 cancelled, 128 a library. */
enum { REPAIRED = 3, UNREPAIRED = 4 };
enum { NO_PROGRAM = 127 };

static void judge(int status, const char *said, int is_dirty) {
  if (*said && status != 0) say("%s: %s", WIFEXITED(status) && WEXITSTATUS(status) <= REPAIRED ? "volume was repaired" : "said", said);
  if (WIFSIGNALED(status)) fail(NOT_CHECKED, "e2fsck was ended by signal %d before it had checked the volume; is this machine short of memory?", WTERMSIG(status));
  int code = WEXITSTATUS(status);
  if (code == NO_PROGRAM) fail(NOT_CHECKED, "e2fsck cannot be run, so the volume is not checked; install e2fsprogs");
  if (code & UNREPAIRED) fail(DAMAGED, "the volume's file system is damaged, and e2fsck does not repair it without a person");
  if (code & ~REPAIRED) fail(NOT_CHECKED, "e2fsck could not check the volume, exit status %d: this machine lacks something that it needs, or the superblock is damaged", code);
  if (code == 0 && is_dirty) say("volume was dirty, checked");
}

/* Checks through the device, so that a file system that is still mounted anywhere by it is refused. */
static void check(const char *device, int is_dirty) {
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC) < 0) fail_by_errno(NOT_CHECKED, "e2fsck cannot be started");
  pid_t parent = getpid(), child = fork();
  if (child < 0) fail_by_errno(NOT_CHECKED, "e2fsck cannot be started");
  if (child == 0) {
    end_with(parent);
    dup2(pipes[1], STDOUT_FILENO);
    dup2(pipes[1], STDERR_FILENO);
    char *environment[] = {"PATH=/usr/sbin:/sbin:/usr/bin:/bin", NULL};
    execvpe("e2fsck", (char *[]){"e2fsck", "-p", (char *)device, NULL}, environment);
    _exit(NO_PROGRAM);
  }
  close(pipes[1]);
  char said[400] = "", rest[4096];
  size_t length = 0;
  for (ssize_t got; (got = read(pipes[0], rest, sizeof rest)) > 0;) {
    size_t take = (size_t)got < sizeof said - 1 - length ? (size_t)got : sizeof said - 1 - length;
    memcpy(said + length, rest, take);
    length += take;
  }
  close(pipes[0]);
  for (char *at = said; *at; at++) if (*at == '\n') *at = ' ';
  int status = 0;
  if (waitpid(child, &status, 0) < 0) fail_by_errno(NOT_CHECKED, "e2fsck cannot be waited for");
  judge(status, said, is_dirty);
}

static int mount_ext4(const char *device, const char *access) {
  int context = fsopen("ext4", FSOPEN_CLOEXEC);
  /* Damage that the kernel finds ends all writing: the default goes on, and makes it worse. */
  if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "source", device, 0) < 0 ||
      fsconfig(context, FSCONFIG_SET_STRING, "errors", "remount-ro", 0) < 0 || fsconfig(context, FSCONFIG_SET_FLAG, access, NULL, 0) < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
    close(context);
    return -1;
  }
  int mounted = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  close(context);
  return mounted;
}

/*
 * Lets the kernel bring what the journal holds to its places. It keeps the journal where that fails, as on a full disk;
 * e2fsck would throw it away, and with it files that were synced and names' inodes.
 */
static void recover(const char *device) {
  int mounted = mount_ext4(device, "ro");
  if (mounted >= 0) {
    close(mounted);
    return;
  }
  say("said: %s", strerror(errno));
  int code = explained(NO_VOLUME);
  if (code != NO_VOLUME) exit(code);
}

static int opened(int place) {
  int found = place < 0 ? -1 : below(place, ".", O_RDONLY | O_DIRECTORY), reason = errno;
  close(place);
  errno = reason;
  return found;
}

static int own(int parent, const char *name, const char *shown, uid_t owner, mode_t mode) {
  int made = opened(folder(parent, name, shown));
  if (made < 0 || fchown(made, owner, owner) < 0 || fchmod(made, mode) < 0) return -1;
  return made;
}

static int release_reserve(int hidden) {
  int reserve = opened(folder(hidden, "reserve", "/data/.root/reserve"));
  if (reserve < 0) return -1;
  DIR *entries = fdopendir(reserve);
  if (!entries) return -1;
  for (struct dirent *entry; (entry = readdir(entries));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) unlinkat(reserve, entry->d_name, 0);
  closedir(entries);
  return 0;
}

static void prepare_volume(const struct node *node, int volume) {
  static const char full[] = "the volume's folders cannot be made: is the volume full?";
  int root = below(volume, ".", O_RDONLY | O_DIRECTORY), hidden;
  if (root < 0 || fchown(root, 0, 0) < 0 || fchmod(root, 0755) < 0 || (hidden = own(root, ".root", "/data/.root", 0, 0700)) < 0 || release_reserve(hidden) < 0 ||
      own(hidden, "upper", "/data/.root/upper", 0, 0755) < 0 || own(hidden, "work", "/data/.root/work", 0, 0755) < 0 || folder(root, "chunks", "/data/chunks") < 0)
    fail_by_errno(NO_VOLUME, full);
  enum taken_over result = take_over(root, hidden, node->agent);
  if (result == NOT_TAKEN_OVER) fail_by_errno(NO_VOLUME, "the volume of an earlier version, or of another slot, cannot be taken over: is it full?");
  if (result == UNREADABLE_LAYER)
    fail(NO_LAYER, "the node's root has folders or files that only the earlier version can read, which its log names; see \"Nodes of version 0.1\" in docs/operations/upgrade.md");
  /* Last: by its owner another agent's volume is known. */
  if (own(root, "tmp", "/data/tmp", node->agent, 0700) < 0 || own(root, ".agent", "/data/.agent", node->agent, 0700) < 0 || own(root, "chunks", "/data/chunks", node->agent, 0700) < 0)
    fail_by_errno(NO_VOLUME, full);
}

int open_volume(const struct node *node) {
  char device[32];
  int file = open_locked(node);
  int condition = condition_of(file, node);
  int loop = attach(node, file, device, sizeof device);
  close(file);
  on_host = node->volume;
  if (condition & MUST_RECOVER) recover(device);
  if (condition & MUST_CHECK) check(device, 1);
  int volume = mount_ext4(device, "rw");
  if (volume < 0 && !condition) {
    check(device, 0);
    volume = mount_ext4(device, "rw");
  }
  if (volume < 0) fail_by_errno(NO_VOLUME, "the volume cannot be mounted; the kernel's log may tell why");
  close(loop);
  prepare_volume(node, volume);
  return volume;
}
