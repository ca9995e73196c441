/**
 * System calls that nothing in a node needs and that reach beyond it. A deny list, not an allow list: a node is a
 * general machine for its owner, restricted mainly by missing capabilities; this blocks the calls that need none. The
 * first stage runs under the same profile, so mount and pivot_root stay allowed; exec'd commands lack the capability.
 */
interface SeccompRule {
  readonly names: readonly string[];
  readonly action: 'SCMP_ACT_ERRNO';
  readonly errnoRet: number;
  readonly args?: readonly { index: number; value: number; valueTwo?: number; op: string }[];
}

const EPERM = 1;
const ENOSYS = 38;

const refuse = (...names: string[]): SeccompRule => ({ names, action: 'SCMP_ACT_ERRNO', errnoRet: EPERM });

// CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET, linux/sched.h.
const NAMESPACE_FLAGS = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000];
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

const refuseFlag = (name: string, index: number, flag: number): SeccompRule => ({
  names: [name],
  action: 'SCMP_ACT_ERRNO',
  errnoRet: EPERM,
  args: [{ index, value: flag, valueTwo: flag, op: 'SCMP_CMP_MASKED_EQ' }],
});

const RULES: readonly SeccompRule[] = [
  // Keys belong to users of the host, not to a namespace.
  refuse('add_key', 'keyctl', 'request_key'),
  // Programs in the kernel, counters of others, page faults served from user space: large attack surface.
  refuse('bpf', 'perf_event_open', 'userfaultfd', 'io_uring_setup', 'io_uring_enter', 'io_uring_register'),
  // The kernel itself, its modules, its clock, power.
  refuse('init_module', 'finit_module', 'delete_module', 'kexec_load', 'kexec_file_load', 'reboot', 'acct'),
  refuse('settimeofday', 'clock_settime', 'clock_adjtime', 'adjtimex', 'swapon', 'swapoff', 'quotactl'),
  refuse('iopl', 'ioperm', 'vhangup', 'syslog', 'lookup_dcookie'),
  // Opening by handle walks past the root directory.
  refuse('open_by_handle_at', 'name_to_handle_at'),
  // Other processes' memory and descriptors.
  refuse('process_vm_readv', 'process_vm_writev', 'kcmp', 'pidfd_getfd', 'process_madvise'),
  // Moving pages between NUMA nodes of the host.
  refuse('move_pages', 'migrate_pages', 'mbind', 'set_mempolicy', 'get_mempolicy'),
  // The new mount interface: the first stage uses the old one, and nothing else mounts.
  refuse('fsopen', 'fsconfig', 'fsmount', 'fspick', 'open_tree', 'move_mount', 'mount_setattr'),
  // A new user namespace would grant capabilities again.
  refuse('setns'),
  ...NAMESPACE_FLAGS.flatMap((flag) => [refuseFlag('unshare', 0, flag), refuseFlag('clone', 0, flag)]),
  // clone3 hides its flags from a filter; ENOSYS makes the C library fall back to clone.
  { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  // Typing into a terminal that is someone else's.
  ...[TIOCSTI, TIOCLINUX].map((request) => ({
    names: ['ioctl'],
    action: 'SCMP_ACT_ERRNO' as const,
    errnoRet: EPERM,
    args: [{ index: 1, value: request, op: 'SCMP_CMP_EQ' }],
  })),
];

/**
 * Builds `linux.seccomp` of the OCI runtime specification. 32-bit system calls are refused by leaving out their tables.
 */
export function nodeSeccomp(architecture: NodeJS.Architecture): object {
  const name = architecture === 'arm64' ? 'SCMP_ARCH_AARCH64' : 'SCMP_ARCH_X86_64';
  return { defaultAction: 'SCMP_ACT_ALLOW', architectures: [name], syscalls: RULES };
}
