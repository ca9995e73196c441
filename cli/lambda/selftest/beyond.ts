/** Attacks that reach for what lies beyond the sandbox: files, processes, the kernel, the network. */
import { attempt, type Attack } from './attack.js';
import { PRELUDE } from '../../selftest/prelude.js';

export const FILES: readonly Attack[] = [
  attempt(
    'host files',
    "reading the host's secrets, state and sockets",
    `unreadable('/etc/shadow', '/root/', '/var/lib/nexus/', '/run/nexus/', '/var/run/nexus.sock', '/home/', '/boot/', '/.nexus/', '/data/')`,
  ),
  attempt(
    'write the root',
    'changing the image that all sandboxes share',
    `
done = []
for path in ('/etc/passwd', '/usr/bin/python3', '/usr/lib/python3.11/os.py', '/new', '/bin/sh', '/dev/null2', '/sys/new', '/root/new'):
    try:
        open(path, 'ab').close(); broke(path)
    except OSError as error:
        done.append(name_of(error.errno))
for work in (lambda: os.chmod('/etc', 0o777), lambda: os.rename('/etc', '/tmp/etc'), lambda: os.link('/bin/busybox', '/tmp/b')):
    try:
        work(); broke('changed')
    except OSError as error:
        done.append(name_of(error.errno))
held(', '.join(sorted(set(done))))`,
  ),
  attempt(
    'out of the root',
    '.. from everywhere, chroot, pivot_root, files by handle',
    `
for path in ('/..', '/proc/self/cwd/../..', '/proc/self/root/..', '/tmp/../..'):
    if os.stat(path).st_ino != os.stat('/').st_ino or os.listdir(path) != os.listdir('/'): broke(path)
handle = ctypes.create_string_buffer(128)
refused(('chroot', b'/tmp'), ('pivot_root', b'/tmp', b'/tmp'), ('name_to_handle_at', -100, b'/', handle, handle, 0), ('open_by_handle_at', 3, handle, 0))`,
  ),
  attempt(
    'mounting',
    'old and new calls: tmpfs, proc, bind, move, unmount',
    `
refused(('mount', b'none', b'/tmp', b'tmpfs', 0, None), ('mount', b'proc', b'/proc', b'proc', 0, None), ('mount', b'/', b'/tmp', None, 4096, None),
    ('mount', None, b'/', None, 32 | 4096, None), ('umount2', b'/proc', 2), ('umount2', b'/tmp', 2), ('fsopen', b'tmpfs', 0),
    ('open_tree', -100, b'/', 1), ('move_mount', 3, b'', -100, b'/tmp', 4), ('mount_setattr', -100, b'/', 0, None, 0))`,
  ),
  attempt(
    '/sys and /proc/sys',
    'figures, switches and tables of the kernel',
    `unreadable('/sys/', '/proc/sys/kernel/core_pattern', '/proc/sys/', '/proc/kallsyms', '/proc/kcore', '/proc/sysrq-trigger', '/proc/cmdline', '/proc/keys', '/proc/modules', '/proc/net/', '/proc/bus/', '/proc/1/root/')
`,
  ),
  attempt(
    'changing /proc',
    'being killed last when memory runs out, its own memory past its own protection',
    `
done = []
for path, value in (('oom_score_adj', '0'), ('oom_score_adj', '-1000'), ('oom_adj', '0'), ('mem', 'x'), ('clear_refs', '1'), ('coredump_filter', '0'), ('comm', 'init'), ('task/self/comm', 'x')):
    for pid in ('self', '1', 'thread-self'):
        try:
            open(f'/proc/{pid}/{path}', 'r+').write(value); broke(f'{pid}/{path}')
        except OSError as error: done.append(name_of(error.errno))
own = open('/proc/self/oom_score_adj').read().strip()
if own != '1000': broke(own)
held(', '.join(sorted(set(done))))`,
  ),
  attempt(
    'devices',
    'disks, loop devices, memory, the log of the kernel: opened and made',
    `
for name in os.listdir('/dev'):
    if name not in ('null', 'zero', 'full', 'random', 'urandom', 'fd', 'stdin', 'stdout', 'stderr', 'shm'): broke(name)
for path in ('/dev/loop0', '/dev/loop-control', '/dev/sda', '/dev/vda', '/dev/mem', '/dev/kmsg', '/dev/fuse', '/dev/net/tun', '/dev/ptmx', '/dev/tty', '/dev/kvm'):
    if os.path.exists(path): broke(path)
refused(('mknodat', -100, b'/tmp/loop', 0o60666, os.makedev(7, 0)), ('mknodat', -100, b'/tmp/disk', 0o60666, os.makedev(254, 0)), ('mknodat', -100, b'/tmp/mem', 0o20666, os.makedev(1, 1)))`,
  ),
  attempt(
    'set-user-id files',
    'a program that gives its owner to whoever starts it, found or made',
    `
import subprocess
os.system('cp /bin/busybox /tmp/busybox && chmod 6755 /tmp/busybox')
seen = subprocess.run(['/tmp/busybox', 'id', '-u'], capture_output=True, text=True).stdout.strip()
if seen != str(os.getuid()): broke(f'uid {seen}')
for work in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.setresuid(0, 0, 0)):
    try:
        work(); broke('another user')
    except OSError: pass
status = open('/proc/self/status').read()
if 'NoNewPrivs:\\t1' not in status or [line for line in status.splitlines() if line.startswith('Cap') and int(line.split()[1], 16) != 0]: broke(status)
held('no_new_privs, nosuid, no capability in any set')`,
  ),
];

export const KERNEL: readonly Attack[] = [
  attempt(
    'keyring',
    'keys of the session, of the user, new ones',
    `refused(('keyctl', 0, -3, 0), ('keyctl', 0, -4, 0), ('keyctl', 1, None), ('keyctl', 11, -5, None, 0), ('add_key', b'user', b'x', b'y', 1, -3), ('request_key', b'user', b'x', None, -3))`,
  ),
  attempt(
    'new namespaces',
    'unshare, setns, clone and clone3 with each kind',
    `
kinds = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80)
answers = [call('unshare', kind) for kind in kinds] + [call('setns', 3, kind) for kind in kinds]
number = 56 if _x86 else 220
for kind in kinds[:-1]:
    ctypes.set_errno(0)
    pid = _libc.syscall(number, kind | 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    answers.append(-ctypes.get_errno() if pid == -1 else pid)
arguments = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
answers.append(call('clone3', arguments, 88))
if [answer for answer in answers if answer >= 0]: broke(str(answers))
held(', '.join(sorted({name_of(-answer) for answer in answers})))`,
  ),
  attempt(
    'bpf',
    'programs in the kernel, filters, tracing',
    `refused(('bpf', 0, None, 0), ('bpf', 5, ctypes.create_string_buffer(128), 128), ('perf_event_open', ctypes.create_string_buffer(128), 0, -1, -1, 0), ('seccomp', 1, 0, None), ('fanotify_init', 0, 0))`,
  ),
  attempt(
    'watching files that all have',
    'signals when others use folders of the image, leases on its files, pages thrown out of the cache, pages shared with others',
    `
import fcntl, mmap
answers = {}
def attack(what, act):
    try: act()
    except OSError as error: answers.setdefault(name_of(error.errno), []).append(what)
    else: broke(what)
folder, file = os.open('/usr/lib', os.O_RDONLY), os.open('/usr/bin/python3', os.O_RDONLY)
for what, command, argument in (('F_NOTIFY', 1026, 1 | 0x80000000), ('F_SETSIG', 10, signal.SIGUSR1), ('F_SETOWN', 8, os.getpid())):
    attack(what, lambda: fcntl.fcntl(folder, command, argument - (1 << 32) if argument > 0x7fffffff else argument))
attack('F_SETLEASE', lambda: fcntl.fcntl(file, 1024, fcntl.F_RDLCK))
attack('DONTNEED', lambda: os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED))
pages = mmap.mmap(-1, 1 << 20)
for what, advice in (('MERGEABLE', 12), ('COLD', 20), ('PAGEOUT', 21)): attack(what, lambda: pages.madvise(advice))
if call('inotify_init1', 0) >= 0 or call('fanotify_init', 0, 0) >= 0: broke('inotify or fanotify')
held('; '.join(f'{answer}: {", ".join(names)}' for answer, names in answers.items()))`,
  ),
  attempt(
    'io_uring',
    'a ring that files and sockets are opened through',
    `refused(('io_uring_setup', 8, ctypes.create_string_buffer(128)))`,
  ),
  attempt(
    'userfaultfd',
    'page faults of the kernel served by code, and pages given to it',
    `refused(('userfaultfd', 1), ('vmsplice', 1, None, 0, 0), ('mlockall', 3))`,
  ),
  attempt(
    'kernel modules',
    'loading one, another kernel, restart, swap, accounting',
    `refused(('init_module', b'x', 1, b''), ('finit_module', 3, b'', 0), ('kexec_load', 0, 0, None, 0), ('reboot', 0xfee1dead, 0x28121969, 0x1234567, None), ('swapon', b'/tmp/x', 0), ('acct', b'/tmp/x'), ('syslog', 3, ctypes.create_string_buffer(64), 64))`,
  ),
  attempt(
    'programs from memory',
    'files that no file system has, started by descriptor',
    `
file = os.open('/bin/busybox', os.O_RDONLY)
refused(('memfd_create', b'x', 0), ('execveat', file, b'', (ctypes.c_char_p * 2)(b'busybox', None), None, 0x1000))`,
  ),
  attempt(
    'priority',
    'real time, first on the disk, interrupting every processor',
    `refused(('sched_setscheduler', 0, 1, (ctypes.c_int * 1)(50)), ('sched_setattr', 0, (ctypes.c_uint32 * 14)(56, 1, 0, 0, 0, 50), 0), ('setpriority', 0, 0, -20), ('ioprio_set', 1, 0, (1 << 13) | 0), ('membarrier', 1, 0, 0))`,
  ),
  attempt(
    'clock',
    'setting it, turning it',
    `
now = (ctypes.c_long * 2)(0, 0)
refused(('clock_settime', 0, now), ('settimeofday', now, None), ('clock_adjtime', 0, ctypes.create_string_buffer(256)))`,
  ),
  attempt(
    'capabilities',
    'asking for one, another name, priority, ownership',
    `refused(('capset', (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(0xffffffff, 0xffffffff, 0, 0, 0, 0)), ('sethostname', b'x', 1), ('setdomainname', b'x', 1), ('sched_setscheduler', 0, 1, (ctypes.c_int * 1)(50)), ('setpriority', 0, 0, -20), ('fchownat', -100, b'/tmp', 0, 0, 0), ('personality', 0x0040000))`,
  ),
  {
    name: '32-bit system calls',
    tried: 'the old interface of the same kernel (int 0x80), past a filter that forgets it',
    steps: [
      {
        code: `${PRELUDE}
import mmap
if not _x86: held('no such interface on this architecture')
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))(), flush=True)
broke('it was answered')`,
      },
    ],
    judge: ([result]) => killedBySeccomp(result?.exitCode, result?.stdout),
  },
  {
    name: 'x32 system calls',
    tried: 'the same numbers with another bit set',
    steps: [
      {
        code: `${PRELUDE}\nif not _x86: held('no such interface on this architecture')\nprint(_libc.syscall(0x40000000 + 39), flush=True)\nbroke('it was answered')`,
      },
    ],
    judge: ([result]) => killedBySeccomp(result?.exitCode, result?.stdout),
  },
];

/** 128 + SIGSYS. */
const BAD_SYSTEM_CALL = 159;

function killedBySeccomp(exitCode: number | undefined, stdout = ''): { held: boolean; by: string } {
  if (stdout.includes('no such interface')) return { held: true, by: 'no such interface on this architecture' };
  return {
    held: exitCode === BAD_SYSTEM_CALL && stdout === '',
    by: `exit code ${exitCode ?? -1}: the filter kills the process`,
  };
}

export const NETWORK: readonly Attack[] = [
  attempt(
    'rare ways of sockets',
    'programs that filter, urgent data, the process at the other end of its own output',
    `
one, other = socket.socketpair()
done = []
program = (ctypes.c_uint64 * 2)(1, 0)
for work in (lambda: one.setsockopt(1, 26, bytes(program)), lambda: one.setsockopt(1, 50, 0), lambda: one.send(b'x', socket.MSG_OOB), lambda: socket.socket(fileno=os.dup(1)).getsockopt(1, 77, 4), lambda: socket.socket(fileno=os.dup(1)).getsockopt(1, 17, 12), lambda: other.recv(1, socket.MSG_OOB | socket.MSG_DONTWAIT)):
    try:
        work(); broke('it worked')
    except OSError as error: done.append(name_of(error.errno))
held(', '.join(done)) if set(done) == {'EPERM'} else broke(', '.join(done))`,
  ),
  attempt(
    'sockets',
    'raw, packet, netlink, Bluetooth, vsock, Unix, TCP: to NATS, the agents, the gateway',
    `
answers = {}
for family, kind in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (10, 1), (16, 3), (17, 3), (31, 3), (38, 5), (40, 1), (44, 3)):
    result = call('socket', family, kind, 0)
    if result >= 0: broke(f'a socket of family {family}')
    answers.setdefault(name_of(-result), []).append(str(family))
held('; '.join(f'{answer} for families {", ".join(families)}' for answer, families in answers.items()))`,
  ),
  attempt(
    'a socket by other means',
    'from descriptors that were left open, from a pair, by passing one',
    `
import stat
for name in os.listdir('/proc/self/fd'):
    if int(name) <= 2: continue
    try:
        if stat.S_ISSOCK(os.fstat(int(name)).st_mode): broke(f'descriptor {name}')
    except OSError: pass
one, other = socket.socketpair()
done = []
for work in (lambda: one.connect('/run/nexus.sock'), lambda: one.bind('/tmp/s'), lambda: one.listen(), lambda: one.sendmsg([b'x'], [(1, 1, b'\\0' * 4)]), lambda: one.sendto(b'x', b'\\0nexus')):
    try:
        work(); broke('it worked')
    except OSError as error: done.append(name_of(error.errno))
held('only a pair of its own: ' + ', '.join(sorted(set(done))))`,
  ),
];
