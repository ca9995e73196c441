/*
 * Owns one log file: copies what comes on standard input into it and keeps it within its bounds, until the input ends.
 *
 *   log-writer PATH MAX-BYTES FILES BYTES-PER-SECOND BURST-BYTES [UID GID]
 *
 * PATH is the log, PATH.1 the one before it, and so on up to FILES of them. A log that is full is copied and begins
 * anew, in place: its readers keep their descriptors, and the files can be opened once, before the privileges go.
 * The other end of the input is held by processes that are not trusted. They can neither open the log, nor fill the
 * disk, nor cost this process more than a small share of a processor: lines beyond the rate are dropped and counted,
 * and input is read slowly while that lasts. The last of what was dropped is kept and written at the end of the input,
 * because the last line tells how a node ended. A disk that takes nothing costs the lines, never the process.
 * Signals that ask for an end are ignored: the log is written as long as anybody can write to it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  BUFFER_BYTES = 64 * 1024,
  KEPT_BYTES = 8 * 1024,
  MOST_FILES = 100,
  /* A beginning of a line, and the word on dropped lines, are written when nothing came for so long. */
  IDLE_MS = 1000,
  /* Between two reads while lines are dropped. */
  PAUSE_MS = 20,
};

static int files[MOST_FILES];
static int file_count;
static off_t max_bytes;
static int64_t rate, burst;

/* Bytes that may be written now, and since when that holds. */
static int64_t tokens;
static int64_t tokens_at_ms;

/* Lines dropped since the log last told of it. */
static uint64_t dropped_lines;
static const char *dropped_why = "";

/* The end of what was dropped since: whole lines. */
static char kept[KEPT_BYTES];
static size_t kept_bytes;

static int is_mid_line;

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void refill(void) {
  int64_t now = now_ms(), elapsed = now - tokens_at_ms;
  tokens_at_ms = now;
  /* After so long the whole burst is there again; more would overflow. */
  if (elapsed > 3600 * 1000) elapsed = 3600 * 1000;
  tokens += elapsed * rate / 1000;
  if (tokens > burst) tokens = burst;
}

static void copy_file(int from, int to) {
  static char piece[BUFFER_BYTES];
  off_t at = 0;
  ssize_t got;
  /* First of all: on a full disk the older log's room is what the copy gets. */
  if (ftruncate(to, 0) != 0) return;
  while ((got = pread(from, piece, sizeof piece, at)) > 0) {
    if (pwrite(to, piece, (size_t)got, at) != got) {
      /* Half of a log would be in the way. */
      if (ftruncate(to, 0) != 0) return;
      return;
    }
    at += got;
  }
}

static void begin_anew(void) {
  for (int age = file_count - 1; age > 0; age--) copy_file(files[age - 1], files[age]);
  if (ftruncate(files[0], 0) == 0) is_mid_line = 0;
}

/* All of it or nothing; 0 when it was written. The log begins anew before a write, so that the last line is in the present one. */
static int append(const char *data, size_t length) {
  struct stat log;
  if (fstat(files[0], &log) != 0) return errno;
  if (log.st_size > 0 && log.st_size + (off_t)length > max_bytes) {
    begin_anew();
    if (fstat(files[0], &log) != 0) return errno;
    if (log.st_size + (off_t)length > max_bytes + BUFFER_BYTES) return ENOSPC;
  }
  size_t done = 0;
  while (done < length) {
    ssize_t wrote = write(files[0], data + done, length - done);
    if (wrote > 0) {
      done += (size_t)wrote;
      continue;
    }
    if (wrote < 0 && errno == EINTR) continue;
    int why = wrote < 0 ? errno : ENOSPC;
    if (done > 0 && ftruncate(files[0], log.st_size) != 0) is_mid_line = 1;
    return why;
  }
  is_mid_line = data[length - 1] != '\n';
  return 0;
}

static uint64_t lines_in(const char *data, size_t length) {
  uint64_t lines = 0;
  for (size_t at = 0; at < length; at++) lines += data[at] == '\n';
  return lines + (length > 0 && data[length - 1] != '\n');
}

static void keep(const char *data, size_t length) {
  if (length > KEPT_BYTES) {
    data += length - KEPT_BYTES;
    length = KEPT_BYTES;
    kept_bytes = 0;
  }
  if (kept_bytes + length > KEPT_BYTES) {
    size_t excess = kept_bytes + length - KEPT_BYTES;
    memmove(kept, kept + excess, kept_bytes - excess);
    kept_bytes -= excess;
  }
  memcpy(kept + kept_bytes, data, length);
  kept_bytes += length;
}

static void drop(const char *data, size_t length, const char *why) {
  dropped_lines += lines_in(data, length);
  dropped_why = why;
  keep(data, length);
}

/* The line, of the same shape as all of Nexus's, that says how many are missing; 0 when it is written. */
static int tell_dropped(void) {
  char line[512], stamp[32];
  struct timespec now;
  struct tm utc;
  if (dropped_lines == 0) return 0;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  int length = snprintf(line, sizeof line,
                        "%s{\"level\":40,\"time\":\"%s.%03ldZ\",\"pid\":%d,\"name\":\"log-writer\",\"dropped\":%llu,"
                        "\"why\":\"%s\",\"msg\":\"%llu log line(s) were dropped: %s\"}\n",
                        is_mid_line ? "\n" : "", stamp, now.tv_nsec / 1000000, (int)getpid(),
                        (unsigned long long)dropped_lines, dropped_why, (unsigned long long)dropped_lines, dropped_why);
  if (length <= 0 || (size_t)length >= sizeof line) return EINVAL;
  int failure = append(line, (size_t)length);
  if (failure != 0) return failure;
  tokens -= length;
  dropped_lines = 0;
  kept_bytes = 0;
  return 0;
}

/* Writes as many whole lines as the rate allows and drops the rest; whether it dropped any. */
static int take(const char *data, size_t length) {
  refill();
  size_t allowed = 0;
  while (allowed < length) {
    const char *end = memchr(data + allowed, '\n', length - allowed);
    size_t next = end == NULL ? length : (size_t)(end - data) + 1;
    if ((int64_t)next > tokens) break;
    allowed = next;
  }
  if (allowed > 0) {
    int failure = tell_dropped();
    if (failure == 0) failure = append(data, allowed);
    if (failure != 0) {
      drop(data, length, strerror(failure));
      return 1;
    }
    tokens -= (int64_t)allowed;
  }
  if (allowed < length) drop(data + allowed, length - allowed, "there were more than may be written in a time");
  return allowed < length;
}

/* The input has ended. The lines that were kept are written, whatever the rate says: once, and a few. */
static void finish(const char *rest, size_t length) {
  if (length > 0) {
    if (dropped_lines > 0) drop(rest, length, dropped_why);
    else take(rest, length);
  }
  if (dropped_lines > 0) {
    /* From the beginning of a line on. */
    char *start = kept, *end = kept + kept_bytes;
    if (kept_bytes == KEPT_BYTES) {
      char *newline = memchr(kept, '\n', kept_bytes);
      if (newline != NULL) start = newline + 1;
    }
    static char last[KEPT_BYTES];
    size_t last_bytes = (size_t)(end - start);
    memcpy(last, start, last_bytes);
    uint64_t told = lines_in(last, last_bytes);
    dropped_lines = dropped_lines > told ? dropped_lines - told : 0;
    if (tell_dropped() == 0 && last_bytes > 0 && append(last, last_bytes) != 0) return;
  }
  /* The next one's first line begins a line. */
  if (is_mid_line && append("\n", 1) != 0) return;
}

static void fail(const char *what) {
  fprintf(stderr, "log-writer: %s: %s\n", what, strerror(errno));
  exit(1);
}

static long long number(const char *text, long long least, long long most) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno != 0 || *text == '\0' || *end != '\0' || value < least || value > most) {
    errno = EINVAL;
    fail(text);
  }
  return value;
}

static void open_files(const char *path) {
  for (int age = 0; age < file_count; age++) {
    char name[PATH_MAX];
    int length = age == 0 ? snprintf(name, sizeof name, "%s", path) : snprintf(name, sizeof name, "%s.%d", path, age);
    if (length < 0 || (size_t)length >= sizeof name) {
      errno = ENAMETOOLONG;
      fail(path);
    }
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | (age == 0 ? O_APPEND : 0);
    files[age] = open(name, flags, 0600);
    if (files[age] < 0) fail(name);
    /* The folder may be the one of less trusted processes: no other file may be put there under the log's name. */
    struct stat found;
    if (fstat(files[age], &found) != 0) fail(name);
    if (!S_ISREG(found.st_mode) || found.st_nlink != 1) {
      errno = EINVAL;
      fail(name);
    }
  }
}

static void drop_privileges(uid_t uid, gid_t gid) {
  if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) fail("privileges");
}

int main(int argc, char **argv) {
  if (argc != 6 && argc != 8) {
    fprintf(stderr, "usage: log-writer PATH MAX-BYTES FILES BYTES-PER-SECOND BURST-BYTES [UID GID]\n");
    return 2;
  }
  max_bytes = (off_t)number(argv[2], 1, LLONG_MAX / 2);
  file_count = (int)number(argv[3], 1, MOST_FILES);
  rate = number(argv[4], 1, INT32_MAX);
  burst = number(argv[5], 1, INT32_MAX);
  open_files(argv[1]);
  if (argc == 8) drop_privileges((uid_t)number(argv[6], 1, INT32_MAX), (gid_t)number(argv[7], 1, INT32_MAX));
  /* Nothing of this process is to be had by what runs as the same user, and it gets nothing more. */
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) fail("prctl");
  const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGXFSZ};
  for (size_t each = 0; each < sizeof ignored / sizeof *ignored; each++) signal(ignored[each], SIG_IGN);
  if (chdir("/") != 0) fail("/");
  tokens = burst;
  tokens_at_ms = now_ms();
  /* The controller reads until here: nothing can fail any more. */
  close(STDERR_FILENO);

  static char buffer[BUFFER_BYTES];
  size_t used = 0;
  for (;;) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int ready = poll(&input, 1, used > 0 || dropped_lines > 0 ? IDLE_MS : -1);
    if (ready < 0 && errno != EINTR) return 1;
    if (ready <= 0) {
      if (ready == 0 && used > 0) {
        take(buffer, used);
        used = 0;
      } else if (ready == 0) {
        refill();
        if (tokens > 0) tell_dropped();
      }
      continue;
    }
    ssize_t got = read(STDIN_FILENO, buffer + used, sizeof buffer - used);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    used += (size_t)got;
    char *newline = memrchr(buffer, '\n', used);
    /* A line that is longer than the buffer goes on as it comes. */
    size_t whole = newline != NULL ? (size_t)(newline - buffer) + 1 : used == sizeof buffer ? used : 0;
    if (whole == 0) continue;
    int has_dropped = take(buffer, whole);
    used -= whole;
    memmove(buffer, buffer + whole, used);
    if (has_dropped) nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000}, NULL);
  }
  finish(buffer, used);
  return 0;
}
