/**
 * System calls that code in a sandbox may make: an allow-list, each group with its reason. All others fail with EPERM
 * (NOT_THERE: ENOSYS), and a system call of another architecture (32-bit, x32) ends the process. To allow another one,
 * add its number to syscall-numbers.ts, its name here, and a row to the escape suite that shows what it can't do.
 */
import type { SyscallName } from './syscall-numbers.js';

interface AllowedGroup {
  readonly why: string;
  readonly names: readonly SyscallName[];
}

export const ALLOWED: readonly AllowedGroup[] = [
  {
    why: 'memory of the process itself; sharing it goes by files in /tmp',
    names: ['brk', 'mmap', 'munmap', 'mprotect', 'mremap', 'msync', 'mincore'],
  },
  {
    why: 'bytes of open files',
    names: [
      'read',
      'write',
      'readv',
      'writev',
      'pread64',
      'pwrite64',
      'preadv',
      'pwritev',
      'lseek',
      'sendfile',
      'copy_file_range',
      'fsync',
      'fdatasync',
      'fallocate',
      'ftruncate',
      'sync_file_range',
    ],
  },
  {
    why: 'descriptors; none that it did not open itself can be got at',
    names: ['close', 'close_range', 'dup', 'dup2', 'dup3', 'pipe', 'pipe2', 'eventfd', 'eventfd2', 'flock'],
  },
  {
    why: 'files by name: a read-only root, and /tmp',
    names: [
      'open',
      'openat',
      'openat2',
      'creat',
      'stat',
      'lstat',
      'fstat',
      'newfstatat',
      'statx',
      'statfs',
      'fstatfs',
      'access',
      'faccessat',
      'faccessat2',
      'getcwd',
      'chdir',
      'fchdir',
      'getdents',
      'getdents64',
      'mkdir',
      'mkdirat',
      'rmdir',
      'unlink',
      'unlinkat',
      'rename',
      'renameat',
      'renameat2',
      'link',
      'linkat',
      'symlink',
      'symlinkat',
      'readlink',
      'readlinkat',
      'truncate',
      'chmod',
      'fchmod',
      'fchmodat',
      'utime',
      'utimes',
      'futimesat',
      'utimensat',
      'umask',
      'getxattr',
      'lgetxattr',
      'fgetxattr',
      'listxattr',
      'llistxattr',
      'flistxattr',
    ],
  },
  {
    why: 'starting programs and threads, ending them; their number is bounded by the cgroup, namespaces are refused below',
    names: [
      'fork',
      'vfork',
      'execve',
      'exit',
      'exit_group',
      'wait4',
      'waitid',
      'set_tid_address',
      'set_robust_list',
      'get_robust_list',
      'rseq',
      'arch_prctl',
    ],
  },
  {
    why: 'signals; the pid namespace holds nobody else',
    names: [
      'rt_sigaction',
      'rt_sigprocmask',
      'rt_sigreturn',
      'rt_sigpending',
      'rt_sigtimedwait',
      'rt_sigsuspend',
      'rt_sigqueueinfo',
      'rt_tgsigqueueinfo',
      'sigaltstack',
      'kill',
      'tkill',
      'tgkill',
      'pidfd_open',
      'pidfd_send_signal',
      'signalfd',
      'signalfd4',
      'alarm',
      'pause',
      'restart_syscall',
    ],
  },
  {
    why: 'who am I; nothing of it can be changed',
    names: [
      'getpid',
      'getppid',
      'gettid',
      'getpgid',
      'getpgrp',
      'setpgid',
      'getsid',
      'setsid',
      'getuid',
      'geteuid',
      'getgid',
      'getegid',
      'getresuid',
      'getresgid',
      'getgroups',
      'capget',
    ],
  },
  {
    why: 'waiting',
    names: [
      'futex',
      'poll',
      'ppoll',
      'select',
      'pselect6',
      'epoll_create',
      'epoll_create1',
      'epoll_ctl',
      'epoll_wait',
      'epoll_pwait',
      'epoll_pwait2',
      'nanosleep',
      'clock_nanosleep',
      'sched_yield',
    ],
  },
  {
    why: 'reading clocks, and timers; setting a clock is not here',
    names: [
      'clock_gettime',
      'clock_getres',
      'gettimeofday',
      'time',
      'times',
      'getitimer',
      'setitimer',
      'timer_create',
      'timer_settime',
      'timer_gettime',
      'timer_getoverrun',
      'timer_delete',
      'timerfd_create',
      'timerfd_settime',
      'timerfd_gettime',
    ],
  },
  {
    why: 'own limits and how much was used; limits only go down without a capability',
    names: [
      'getrlimit',
      'setrlimit',
      'prlimit64',
      'getrusage',
      'getpriority',
      'sched_getaffinity',
      'sched_setaffinity',
      'sched_getparam',
      'sched_getscheduler',
      'sched_get_priority_max',
      'sched_get_priority_min',
    ],
  },
  {
    why: 'facts about the machine that are no secrets',
    names: ['uname', 'sysinfo', 'getcpu', 'getrandom'],
  },
  {
    why: 'both ends of a pair that the process itself makes, as event loops do; no other socket can be made (below)',
    names: ['shutdown', 'getsockname', 'getpeername'],
  },
];

/**
 * The value of argument `argument`, after `& mask`, must be one of `values`; only the lower 32 bits are compared.
 * Where several rules have one name, all of them must hold.
 */
interface ArgumentRule {
  readonly name: SyscallName;
  readonly why: string;
  readonly argument: number;
  readonly mask: number;
  readonly values: readonly number[];
  /** The argument is a pointer: its upper 32 bits must be zero, too. */
  readonly isPointer?: true;
}

// CLONE_NEWTIME | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET, linux/sched.h.
const NAMESPACE_FLAGS = 0x7e020080;
const AF_UNIX = 1;
// FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS (is it a terminal?), TIOCGWINSZ, asm-generic/ioctls.h.
const HARMLESS_REQUESTS = [0x541b, 0x5421, 0x5450, 0x5451, 0x5401, 0x5413];
// SO_REUSEADDR, SNDBUF, RCVBUF, KEEPALIVE, RCVTIMEO, SNDTIMEO and the latter two once more, asm-generic/socket.h.
const HARMLESS_SOCKET_OPTIONS = [2, 7, 8, 9, 20, 21, 66, 67];
// SO_TYPE, ERROR, ACCEPTCONN, PROTOCOL, DOMAIN: libraries read these from a socket that they are given.
const HARMLESS_SOCKET_FACTS = [3, 4, 30, 38, 39];
const MSG_OOB = 1;
// F_DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, their three for open file descriptions, DUPFD_CLOEXEC,
// SETPIPE_SZ, GETPIPE_SZ, linux/fcntl.h.
const HARMLESS_FILE_COMMANDS = [0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032];
// POSIX_FADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, NOREUSE, linux/fadvise.h.
const HARMLESS_FILE_ADVICE = [0, 1, 2, 3, 5];
// MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, UNMERGEABLE, HUGEPAGE, NOHUGEPAGE,
// DONTDUMP, DODUMP, WIPEONFORK, KEEPONFORK, POPULATE_READ, POPULATE_WRITE, asm-generic/mman-common.h.
const HARMLESS_MEMORY_ADVICE = [0, 1, 2, 3, 4, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 22, 23];
// PR_SET_PDEATHSIG, GET_PDEATHSIG, GET_DUMPABLE, SET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, GET_NO_NEW_PRIVS, SET_VMA.
const HARMLESS_OPTIONS = [1, 2, 3, 4, 15, 16, 21, 39, 0x53564d41];

export const ALLOWED_WITH: readonly ArgumentRule[] = [
  { name: 'clone', why: 'threads and processes, no namespaces', argument: 0, mask: NAMESPACE_FLAGS, values: [0] },
  {
    name: 'fcntl',
    why: 'descriptors, locks and sizes of pipes; no word of what others do with files of the image (F_NOTIFY, leases)',
    argument: 1,
    mask: 0xffffffff,
    values: HARMLESS_FILE_COMMANDS,
  },
  {
    name: 'fadvise64',
    why: 'no throwing out of cached pages (DONTNEED): how soon they are back tells who else reads that file of the image',
    argument: 3,
    mask: 0xffffffff,
    values: HARMLESS_FILE_ADVICE,
  },
  {
    name: 'madvise',
    why: 'its own pages; none that are merged with those of others (MERGEABLE), nor thrown out of the cache (COLD, PAGEOUT)',
    argument: 2,
    mask: 0xffffffff,
    values: HARMLESS_MEMORY_ADVICE,
  },
  { name: 'socketpair', why: 'of this machine only', argument: 0, mask: 0xffffffff, values: [AF_UNIX] },
  {
    name: 'sendto',
    why: 'to the other end of a pair: with an address it could name a socket',
    argument: 4,
    mask: 0xffffffff,
    values: [0],
    isPointer: true,
  },
  {
    name: 'sendto',
    why: 'no urgent data: code of the kernel that hardly anybody uses, and that let others out of their sandboxes',
    argument: 3,
    mask: MSG_OOB,
    values: [0],
  },
  { name: 'recvfrom', why: 'the same', argument: 3, mask: MSG_OOB, values: [0] },
  {
    name: 'setsockopt',
    why: 'sizes and times; no programs that filter',
    argument: 2,
    mask: 0xffffffff,
    values: HARMLESS_SOCKET_OPTIONS,
  },
  {
    name: 'getsockopt',
    why: 'nothing about who is at the other end: for the output of a sandbox that is the controller',
    argument: 2,
    mask: 0xffffffff,
    values: [...HARMLESS_SOCKET_OPTIONS, ...HARMLESS_SOCKET_FACTS],
  },
  {
    name: 'ioctl',
    why: 'no typing into terminals, no devices',
    argument: 1,
    mask: 0xffffffff,
    values: HARMLESS_REQUESTS,
  },
  {
    name: 'prctl',
    why: 'names and deaths; no second filter, no capabilities',
    argument: 0,
    mask: 0xffffffff,
    values: HARMLESS_OPTIONS,
  },
];

/** clone3 passes its flags in memory, which a filter can't read; ENOSYS makes the C library fall back to clone. */
export const NOT_THERE: readonly SyscallName[] = ['clone3'];
