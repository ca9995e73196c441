/** Attacks on the kernel itself: calls that reach beyond the node, or into code that is rarely used. */
import { hostname } from 'node:os';
import { attempt, unchanged, type Attack } from './attack.js';

export const KERNEL: readonly Attack[] = [
  attempt(
    'programs in the kernel',
    'bpf, perf_event_open, userfaultfd, fanotify, kcmp',
    `
attributes = ctypes.create_string_buffer(128)
ctypes.memmove(attributes, (ctypes.c_uint32 * 2)(1, 128), 8)
held(denied(('bpf', 0, (ctypes.c_uint32 * 16)(2, 4, 4, 1), 64), ('bpf', 5, (ctypes.c_uint32 * 32)(1), 128), ('perf_event_open', attributes, 0, -1, -1, 0), ('userfaultfd', 0), ('userfaultfd', 1), ('fanotify_init', 0, 0), ('kcmp', os.getpid(), os.getpid(), 0, 0, 0), ('move_pages', 0, 0, 0, 0, 0, 0)))`,
  ),
  attempt(
    'io_uring',
    'a ring that does work past the filter',
    `held(denied(('io_uring_setup', 8, ctypes.create_string_buffer(120)), ('io_uring_enter', 3, 1, 1, 0, None, 0)))`,
  ),
  attempt(
    'asynchronous I/O of old',
    'io_setup, whose contexts the kernel counts for the whole machine, and the calls on one',
    `
context = ctypes.c_ulong(0)
held(denied(('io_setup', 1, ctypes.byref(context)), ('io_setup', 65536, ctypes.byref(context)), ('io_submit', context, 0, None), ('io_getevents', context, 0, 0, None, None), ('io_pgetevents', context, 0, 0, None, None, None), ('io_cancel', context, None, None), ('io_destroy', context)))`,
  ),
  attempt(
    'modules and another kernel',
    'init_module, finit_module, delete_module, kexec, reboot, swap, accounting, quotas',
    `
open('/data/selftest', 'w').close()
descriptor = os.open('/data/selftest', os.O_RDONLY)
by = denied(('init_module', b'x', 1, b''), ('finit_module', descriptor, b'', 0), ('delete_module', b'selftest', 2048), ('kexec_load', 0, 0, None, 0), ('kexec_file_load', descriptor, -1, 0, b'', 4), ('reboot', 0xfee1dead, 672274793, 0, None), ('swapon', b'/data/selftest', 0), ('acct', b'/data/selftest'), ('quotactl', 0x80000700, b'/dev/loop0', 0, None), ('lookup_dcookie', 0, None, 0))
os.remove('/data/selftest')
held(by)`,
  ),
  attempt(
    'keyrings',
    'keys of the session, of the user, new ones',
    `held(denied(('keyctl', 0, -3, 0), ('keyctl', 0, -4, 1), ('keyctl', 1, None), ('keyctl', 11, -5, None, 0), ('add_key', b'user', b'x', b'y', 1, -3), ('request_key', b'user', b'x', None, -3)))`,
  ),
  unchanged(
    'clock and names',
    'setting the time of the machine and its names',
    `
before = os.uname().nodename
now = (ctypes.c_long * 2)(int(time.time()), 0)
room = ctypes.create_string_buffer(256); room[0] = 2
by = denied(('clock_settime', 0, now), ('settimeofday', now, None), ('adjtimex', room), ('clock_adjtime', 0, room), ('sethostname', b'selftest', 8), ('setdomainname', b'selftest', 8))
held(by) if os.uname().nodename == before else broke(os.uname().nodename)`,
    () => Promise.resolve(hostname()),
  ),
  attempt(
    'rare families of sockets',
    'each family of the kernel but Unix, IPv4, IPv6 and netlink: vsock, packet, crypto, Bluetooth, CAN, ...',
    `
got = {}
for family in range(64):
    answers = [call('socket', family, kind, 0) for kind in (1, 2, 3, 5)]
    for answer in answers:
        if answer >= 0: os.close(answer); got[family] = got.get(family, 0) + 1
        elif family not in (1, 2, 10, 16) and -answer not in BARRIERS: broke(f'family {family}: {name_of(-answer)} is no barrier')
if set(got) - {1, 2, 10, 16}: broke(str(got))
held('EPERM for 60 families; of the four others a socket was given') if len(got) == 4 else broke(f'only {got}: nothing was tried')`,
  ),
  attempt(
    'rare protocols',
    'each protocol of IPv4, IPv6 and Unix sockets but TCP, UDP and echo, and each of netlink but routes and lists of sockets',
    `
usual = {1: (0, 1), 2: (0, 1, 6, 17, 58), 10: (0, 1, 6, 17, 58), 16: (0, 4)}
answers, given = {}, 0
for family, protocols in usual.items():
    for protocol in range(300):
        for kind in (1, 2, 3, 4, 5, 6):
            for high in (0, 1 << 32):
                answer = call('socket', family, kind, ctypes.c_ulong(protocol | high))
                if answer >= 0: os.close(answer)
                if protocol in protocols: given += answer >= 0
                elif answer >= 0: raise Through(f'family {family}, type {kind}, protocol {protocol}')
                elif -answer not in (errno.EPERM, errno.EPROTONOSUPPORT): raise Through(f'{family}, {kind}, {protocol}: {name_of(-answer)} is no barrier')
                else: answers.setdefault(name_of(-answer), []).append(protocol)
held(count(answers)) if given > 8 else broke(f'only {given} of the others were given: nothing was tried')`,
  ),
  attempt(
    'raw sockets',
    'packets of its own making, all packets of the link, echo requests',
    `
calls = [('socket', 2, 3, protocol) for protocol in (1, 6, 17, 255)] + [('socket', 10, 3, 58), ('socket', 17, 3, 0x300), ('socket', 17, 2, 0x300)]
held(denied(*calls, shown=count))`,
  ),
  attempt(
    '32-bit system calls',
    'the old interface of the same kernel (int 0x80), past a filter that forgets it',
    `
import mmap
if not _x86: held('no such interface on this architecture')
def old():
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
answer = child(old)
if isinstance(answer, int) and answer > 0: broke(f'getpid answered {answer}')
held(answer if isinstance(answer, str) else name_of(-answer))`,
  ),
  attempt(
    'x32 system calls',
    'the same numbers with another bit set',
    `
if not _x86: held('no such interface on this architecture')
def other():
    ctypes.set_errno(0)
    answer = _libc.syscall(0x40000000 + 39)
    return answer if answer >= 0 else -ctypes.get_errno()
answer = child(other)
if isinstance(answer, int) and answer >= 0: broke(f'getpid answered {answer}')
held(answer if isinstance(answer, str) else name_of(-answer))`,
  ),
  attempt(
    'typing into a terminal',
    'TIOCSTI and TIOCLINUX, also with bits set that the kernel drops',
    `
import fcntl, termios, pty
def type_in():
    os.setsid()
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    ctypes.set_errno(0)
    if _libc.syscall(_numbers['ioctl'][0 if _x86 else 1], slave, ctypes.c_ulong(0x540f), ctypes.byref(ctypes.c_int())) < 0: raise Through('no ioctl works: nothing was tried')
    by = denied(*[('ioctl', slave, ctypes.c_ulong(request | high), ctypes.c_char_p(b'x')) for request in (0x5412, 0x541c) for high in (0, 1 << 32, 0xffffffff << 32)], shown=count)
    flags = termios.tcgetattr(slave); flags[3] &= ~termios.ICANON; termios.tcsetattr(slave, termios.TCSANOW, flags)
    os.set_blocking(slave, False)
    try: typed = os.read(slave, 8)
    except BlockingIOError: typed = b''
    if typed: raise Through(f'{typed!r} was typed')
    return by
held(child(type_in))`,
  ),
  attempt(
    'line disciplines',
    'TIOCSETD with each number, for drivers that the kernel loads when a terminal asks for them',
    `
import pty
master, slave = pty.openpty()
calls = [('ioctl', slave, ctypes.c_ulong(0x5423 | high), ctypes.byref(ctypes.c_int(number))) for number in range(32) for high in (0, 1 << 32)]
held(denied(*calls, shown=count))`,
  ),
  attempt(
    'old ways of the kernel',
    'personalities that weaken memory, a page at address 0',
    `
import mmap
by = denied(*[('personality', ctypes.c_ulong(kind | high)) for kind in (0x100000, 0x400000, 0x1000000, 0x4000000, 6) for high in (0, 1 << 32)], shown=count)
_libc.mmap.restype = ctypes.c_void_p
ctypes.set_errno(0)
address = _libc.mmap(ctypes.c_void_p(0), ctypes.c_size_t(4096), 3, 0x32, -1, ctypes.c_long(0))
held(f'{by}; address 0: {name_of(ctypes.get_errno())}') if address == ctypes.c_void_p(-1).value else broke(f'memory at {address}')`,
  ),
  attempt(
    'word of other nodes',
    'notices of what others do with files of the shared image (F_NOTIFY), and leases on them',
    `
folder, file = os.open('/usr/bin', os.O_RDONLY), os.open('/.nexus/rt/agent.cjs', os.O_RDONLY)
calls = [('fcntl', folder, ctypes.c_ulong(1026 | high), ctypes.c_ulong(0x8000003f)) for high in (0, 1 << 32)] + [('fcntl', file, ctypes.c_ulong(1024 | high), ctypes.c_ulong(0)) for high in (0, 1 << 32)]
held(denied(*calls))`,
  ),
];
