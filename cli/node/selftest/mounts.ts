/** Attacks on what a node sees: mounts, roots, namespaces. */
import { attempt, type Attack } from './attack.js';

export const MOUNTS: readonly Attack[] = [
  attempt(
    'new mounts',
    'tmpfs, proc, sysfs, cgroup, overlay, ext4, bind: over the runtime, over /etc, of the root',
    `
before = mounts()
by = denied(('mount', b'none', b'/mnt', b'tmpfs', 0, None), ('mount', b'proc', b'/mnt', b'proc', 0, None), ('mount', b'sysfs', b'/mnt', b'sysfs', 0, None), ('mount', b'c', b'/mnt', b'cgroup2', 0, None), ('mount', b'c', b'/mnt', b'cgroup', 0, b'pids'),
    ('mount', b'o', b'/mnt', b'overlay', 0, b'lowerdir=/etc:/bin'), ('mount', b'/dev/loop0', b'/mnt', b'ext4', 0, None), ('mount', b'/bin', b'/.nexus/rt', None, 4096, None), ('mount', b'/', b'/mnt', None, 4096 | 16384, None), ('mount', b'd', b'/mnt', b'devtmpfs', 0, None), ('mount', b'd', b'/mnt', b'debugfs', 0, None),
    ('mount', None, b'/', None, 1 << 20 | 16384, None), ('mount', b'/data', b'/mnt', None, 8192, None), shown=count)
held(by) if mounts() == before else broke('the mounts changed')`,
  ),
  attempt(
    'taking mounts away',
    'unmounting each: what hides the layer, masks /proc, is read-only',
    `
before = mounts()
points = [line.split()[4].encode() for line in before.splitlines()]
by = denied(*[('umount2', point, flags) for point in points for flags in (0, 2, 8)], shown=count)
held(by) if mounts() == before else broke('the mounts changed')`,
  ),
  attempt(
    'read-only made writable',
    'mounting again without ro, nosuid, nodev: old and new calls',
    `
before = mounts()
attributes = (ctypes.c_uint64 * 4)(0, 1 | 2 | 4 | 8, 0, 0)
calls = []
for line in before.splitlines():
    point = line.split()[4].encode()
    calls += [('mount', None, point, None, 32, None), ('mount', None, point, None, 32 | 4096, None), ('mount_setattr', -100, point, 0x8000, attributes, 32)]
by = denied(*calls, shown=count)
works = [(path, lambda path=path: opened(path, os.O_WRONLY | os.O_CREAT)) for path in ('/sys/selftest', '/.nexus/rt/selftest', '/data/.root/selftest')]
works.append(('/proc/sys', lambda: opened('/proc/sys/kernel/core_pattern', os.O_WRONLY)))
held(f'{by}; still {barred(*works, shown=count)}') if mounts() == before else broke('the mounts changed')`,
  ),
  attempt(
    'new ways to mount',
    'fsopen, fsconfig, fsmount, fspick, open_tree, move_mount',
    `
held(denied(('fsopen', b'tmpfs', 0), ('fsopen', b'proc', 0), ('fsopen', b'ext4', 0), ('fspick', -100, b'/', 0), ('open_tree', -100, b'/', 1), ('open_tree', -100, b'/data', 1 | 0x8000), ('move_mount', -100, b'/data', -100, b'/mnt', 0), ('fsconfig', 3, 6, None, None, 0), ('fsmount', 3, 0, 0)))`,
  ),
  attempt(
    'orders to file systems',
    'freezing, trimming, shutting down and resizing the file systems of the root, the volume, the runtime and the settings; files that nobody can change',
    `
import struct
orders = {'freeze': (0xc0045877, bytes(8)), 'thaw': (0xc0045878, bytes(8)), 'trim': (0xc0185879, struct.pack('QQQ', 0, 1 << 62, 0)), 'shut down': (0x8004587d, struct.pack('I', 2)),
    'immutable': (0x40086602, struct.pack('Q', 0x10)), 'append only': (0x40086602, struct.pack('Q', 0x20)), 'resize': (0x40086610, struct.pack('Q', 1 << 20)), 'label': (0x41009432, bytes(256)), 'checkpoint': (0x4004662b, struct.pack('I', 0))}
calls = []
for path in ('/', '/data', '/.nexus/rt', '/.nexus/config', '/tmp', '/etc/hosts', '/dev/null'):
    descriptor = os.open(path, os.O_RDONLY)
    calls += [('ioctl', descriptor, ctypes.c_ulong(number), argument) for number, argument in orders.values()]
# Not every file system knows each of them; those that lie on a disk know all.
held(denied(*calls, also=(errno.ENOTTY, errno.EOPNOTSUPP), shown=count))`,
  ),
  attempt(
    'another root',
    'chroot, pivot_root, .. from everywhere, a descriptor kept over chroot',
    `
root = os.stat('/')
for path in ('/..', '/proc/self/cwd/../../..', '/proc/self/root/..', '/data/../..', '/.nexus/rt/../../..'):
    seen = os.stat(path)
    if (seen.st_dev, seen.st_ino) != (root.st_dev, root.st_ino): broke(path)
top = os.open('/', os.O_RDONLY)
def climb():
    os.fchdir(top)
    for _ in range(64): os.chdir('..')
    seen = os.stat('.')
    if (seen.st_dev, seen.st_ino) != (root.st_dev, root.st_ino): raise Through('above the root')
child(climb)
held(denied(('chroot', b'/data'), ('chroot', b'/'), ('pivot_root', b'.', b'.'), ('pivot_root', b'/data', b'/data/tmp')))`,
  ),
  attempt(
    'new namespaces',
    'unshare, clone and clone3 with each kind: a user namespace would give all capabilities again',
    `
kinds = dict(mnt=0x20000, cgroup=0x2000000, uts=0x4000000, ipc=0x8000000, user=0x10000000, pid=0x20000000, net=0x40000000, time=0x80)
own = {name: os.readlink(f'/proc/self/ns/{name}') for name in kinds}
by = denied(*[('unshare', kind) for kind in kinds.values()], ('unshare', 0x10000000 | 0x20000), shown=count)
number = 56 if _x86 else 220
for name, kind in kinds.items():
    if name == 'time': continue
    ctypes.set_errno(0)
    pid = _libc.syscall(number, kind | 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    if pid > 0: os.waitpid(pid, 0); broke(f'clone: {name}')
    if ctypes.get_errno() not in BARRIERS: broke(f'clone: {name_of(ctypes.get_errno())}')
three = denied(*[('clone3', (ctypes.c_uint64 * 11)(kind, 0, 0, 0, 17), 88) for kind in (0, *kinds.values())], shown=count)
seen = {name: os.readlink(f'/proc/self/ns/{name}') for name in kinds}
held(f'unshare {by}; clone EPERM; clone3 {three}') if seen == own else broke(str(seen))`,
  ),
  attempt(
    'namespaces of others',
    'entering those of the first process and the agent, and its own again, by file and by pidfd',
    `
works, calls = [], []
for pid in agents():
    works += [(name, lambda path=f'/proc/{pid}/ns/{name}': opened(path)) for name in ('user', 'mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup')]
    descriptor = call('pidfd_open', pid, 0)
    if descriptor >= 0: calls += [('setns', descriptor, kind) for kind in (0x20000, 0x10000000, 0x40000000)]
calls += [('setns', os.open(f'/proc/self/ns/{name}', os.O_RDONLY), 0) for name in ('user', 'mnt', 'net')]
held(f'files {barred(*works, shown=count)}; setns {denied(*calls, shown=count)}')`,
  ),
];
