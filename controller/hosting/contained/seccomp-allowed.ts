/**
 * System calls that programs in a node may make: an allow-list, each group with its reason. A node is a general machine
 * for its owner, so whatever ordinary programs use is here; what reaches beyond the node, or into rarely used code of
 * the kernel, is not, and fails with EPERM. The OCI runtime leaves out names that the host's libseccomp does not know; calls
 * newer than all of these fail with ENOSYS, as runc adds.
 */
interface AllowedCalls {
  readonly why: string;
  readonly names: readonly string[];
}

const list = (text: string): readonly string[] => text.trim().split(/\s+/);

export const ALLOWED: readonly AllowedCalls[] = [
  {
    why: 'memory of the process itself',
    names: list(
      `brk mmap mmap2 munmap mprotect mremap msync mincore madvise mlock mlock2 mlockall munlock munlockall mseal
       memfd_create membarrier pkey_alloc pkey_free pkey_mprotect remap_file_pages map_shadow_stack`,
    ),
  },
  {
    why: 'bytes of open files',
    names: list(
      `read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile splice tee vmsplice
       copy_file_range fsync fdatasync sync syncfs sync_file_range fallocate ftruncate fadvise64 readahead cachestat`,
    ),
  },
  {
    why: 'descriptors',
    names: list('close close_range dup dup2 dup3 pipe pipe2 eventfd eventfd2 flock inotify_init inotify_init1'),
  },
  {
    why: 'files by name, their owners and modes: those of the node alone are in sight',
    names: list(
      `open openat openat2 creat stat lstat fstat newfstatat statx statfs fstatfs ustat access faccessat faccessat2 getcwd
       chdir fchdir getdents getdents64 mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink
       symlinkat readlink readlinkat truncate chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat mknod mknodat
       utime utimes futimesat utimensat umask getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr
       lsetxattr fsetxattr removexattr lremovexattr fremovexattr inotify_add_watch inotify_rm_watch`,
    ),
  },
  {
    why: 'starting programs and threads, ending them; their number is bounded by the cgroup, namespaces are refused below',
    names: list(
      `fork vfork execve execveat exit exit_group wait4 waitid waitpid set_tid_address set_robust_list get_robust_list
       rseq arch_prctl prctl restart_syscall set_thread_area get_thread_area`,
    ),
  },
  {
    why: 'looking into processes, as debuggers do; the kernel refuses those of other users, and agents altogether',
    names: list('ptrace'),
  },
  {
    why: 'filters that a program sets for itself',
    names: list('seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self'),
  },
  {
    why: 'signals; the pid namespace holds nobody else',
    names: list(
      `rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend rt_sigqueueinfo
       rt_tgsigqueueinfo sigaltstack kill tkill tgkill pidfd_open pidfd_send_signal process_mrelease signalfd signalfd4
       alarm pause`,
    ),
  },
  {
    why: 'who it is; ids are those of the user namespace, changed by the few capabilities of a node’s root',
    names: list(
      `getpid getppid gettid getpgid getpgrp setpgid getsid setsid getuid geteuid getgid getegid getresuid getresgid
       getgroups capget capset setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups`,
    ),
  },
  {
    why: 'waiting',
    names: list(
      `futex futex_waitv futex_wake futex_wait futex_requeue poll ppoll select pselect6 epoll_create epoll_create1
       epoll_ctl epoll_wait epoll_pwait epoll_pwait2 nanosleep clock_nanosleep sched_yield`,
    ),
  },
  {
    why: 'reading clocks, and timers; setting a clock is not here',
    names: list(
      `clock_gettime clock_getres gettimeofday time times getitimer setitimer timer_create timer_settime timer_gettime
       timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime`,
    ),
  },
  {
    why: 'limits, priorities and how much was used; they only go down without a capability',
    names: list(
      `getrlimit setrlimit prlimit64 getrusage getpriority setpriority ioprio_get ioprio_set sched_getaffinity
       sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_getattr sched_setattr
       sched_get_priority_max sched_get_priority_min sched_rr_get_interval`,
    ),
  },
  {
    why: 'facts about the machine that are no secrets',
    names: list('uname sysinfo getcpu getrandom'),
  },
  {
    why: 'System V and POSIX queues, semaphores and memory of the node’s own IPC namespace; see memory-shares.ts',
    names: list(
      `shmget shmat shmdt shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink
       mq_timedsend mq_timedreceive mq_notify mq_getsetattr`,
    ),
  },
  {
    why: 'sockets of the families below',
    names: list(
      `bind listen accept accept4 connect getsockname getpeername sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
       shutdown setsockopt getsockopt`,
    ),
  },
];

/** The value of argument `argument`, after `& mask`, must be one of `values`. Only the lower 32 bits count, as in the kernel. */
interface AllowedValues {
  readonly name: string;
  readonly why: string;
  readonly argument: number;
  readonly mask: number;
  readonly values: readonly number[];
}

const WHOLE = 0xffffffff;
// CLONE_NEWTIME | NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET, linux/sched.h.
const NAMESPACE_FLAGS = 0x7e020080;
// F_DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK, SETLK, SETLKW, SETOWN, GETOWN, SETSIG, GETSIG, SETOWN_EX, GETOWN_EX, three
// for locks of open files, DUPFD_QUERY, CREATED_QUERY, DUPFD_CLOEXEC, SETPIPE_SZ, GETPIPE_SZ, ADD_SEALS, GET_SEALS and
// four hints, linux/fcntl.h.
const FILE_COMMANDS = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 36, 37, 38, 1027, 1028, 1030, 1031, 1032, 1033, 1034, 1035, 1036, 1037,
  1038,
];
// PER_LINUX, PER_LINUX32, each with UNAME26, ADDR_NO_RANDOMIZE (debuggers), and the question, linux/personality.h.
const PERSONALITIES = [0, 8, 0x20000, 0x20008, 0x40000, 0xffffffff];

export const ALLOWED_VALUES: readonly AllowedValues[] = [
  { name: 'clone', why: 'threads and processes, no namespaces', argument: 0, mask: NAMESPACE_FLAGS, values: [0] },
  {
    name: 'unshare',
    why: 'descriptors and folders of a thread; a user namespace would grant capabilities again',
    argument: 0,
    mask: NAMESPACE_FLAGS,
    values: [0],
  },
  { name: 'socketpair', why: 'between processes', argument: 0, mask: WHOLE, values: [1] },
  {
    name: 'fcntl',
    why: 'descriptors, locks, sizes of pipes; no word of what others do with files of a shared image (F_NOTIFY, leases)',
    argument: 1,
    mask: WHOLE,
    values: FILE_COMMANDS,
  },
  {
    name: 'personality',
    why: 'looks and layout, no old ways of the kernel',
    argument: 0,
    mask: WHOLE,
    values: PERSONALITIES,
  },
];

/** As above, but the value must be none of `values`. */
export const ALLOWED_BUT: readonly AllowedValues[] = [
  {
    name: 'ioctl',
    why: 'devices and terminals of the node; no typing into a terminal that is somebody else’s (TIOCSTI, TIOCLINUX), no drivers for modems behind one (TIOCSETD)',
    argument: 1,
    mask: WHOLE,
    values: [0x5412, 0x541c, 0x5423],
  },
];

/** clone3 passes its flags in memory, where no filter sees them; ENOSYS makes the C library fall back to clone. */
export const NOT_THERE: readonly string[] = ['clone3'];

/** Sockets of these families, each with any of these protocols. */
interface Sockets {
  readonly why: string;
  readonly families: readonly number[];
  readonly protocols: readonly number[];
}

// linux/socket.h.
const [UNIX, INET, INET6, NETLINK] = [1, 2, 10, 16];
// linux/in.h, linux/in6.h.
const [ICMP, TCP, UDP, ICMP6, SCTP, UDPLITE, MPTCP] = [1, 6, 17, 58, 132, 136, 262];
// linux/netlink.h.
const [ROUTE, SOCK_DIAG, XFRM, AUDIT, CONNECTOR, NETFILTER, KOBJECT_UEVENT, GENERIC] = [0, 4, 6, 9, 11, 12, 15, 16];

/** AF_VSOCK reaches the machine below, AF_ALG and other families are rarely used code. */
export const ALLOWED_SOCKETS: readonly Sockets[] = [
  { why: 'between programs of the node', families: [UNIX], protocols: [0, UNIX] },
  { why: 'the node’s own network', families: [INET, INET6], protocols: [0, ICMP, TCP, UDP, ICMP6] },
  { why: 'addresses and sockets, for the C library, ip and ss', families: [NETLINK], protocols: [ROUTE, SOCK_DIAG] },
];

/**
 * Refused as by a kernel that was built without them (EPROTONOSUPPORT), since programs then go on: to TCP, or without audit,
 * where other errors end useradd and su.
 */
export const ABSENT_SOCKETS: readonly Sockets[] = [
  { why: 'rarely used code in place of TCP and UDP', families: [INET, INET6], protocols: [SCTP, UDPLITE, MPTCP] },
  {
    why: 'what the kernel has for administrators and drivers; others of the kind nothing in a node asks for',
    families: [NETLINK],
    protocols: [XFRM, AUDIT, CONNECTOR, NETFILTER, KOBJECT_UEVENT, GENERIC],
  },
];
