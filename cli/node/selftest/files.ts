/** Attacks on files of the host: devices, switches of the kernel, what processes hold, what Nexus keeps in a node. */
import { readFile, stat } from 'node:fs/promises';
import { attempt, unchanged, type Attack } from './attack.js';

/** Reads the host's switches and their owners. */
async function switches(): Promise<string> {
  const paths = ['core_pattern', 'modprobe', 'hostname', 'panic', 'shmall'].map((name) => `/proc/sys/kernel/${name}`);
  const all = [...paths, '/proc/sys/vm/overcommit_memory', '/proc/sysrq-trigger'];
  return (await Promise.all(all.map(switchAt))).join('\n');
}

async function switchAt(path: string): Promise<string> {
  try {
    const { mode, uid, gid } = await stat(path);
    const text = path.includes('trigger') ? '' : await readFile(path, 'utf8');
    return [path, text.trim(), mode, uid, gid].join(' ');
  } catch (error) {
    // Kernels differ in what they have.
    return `${path} ${(error as NodeJS.ErrnoException).code ?? ''}`;
  }
}

export const FILES: readonly Attack[] = [
  attempt(
    'devices',
    'making the host’s disks, loop devices and memory, on each file system; opening those of /dev',
    `
works, before = [], os.listdir('/dev')
kinds = dict(loop0=(0o60666, 7, 0), sda=(0o60666, 8, 0), vda=(0o60666, 254, 0), nvme=(0o60666, 259, 0), mem=(0o20666, 1, 1), kmsg=(0o20666, 1, 11), loopctl=(0o20666, 10, 237), fuse=(0o20666, 10, 229), tun=(0o20666, 10, 200), kvm=(0o20666, 10, 232))
for folder in ('/data', '/tmp', '/dev', '/root', '/dev/shm', '/.nexus'):
    for name, (mode, major, minor) in kinds.items():
        works.append((name, lambda path=f'{folder}/selftest-{name}', mode=mode, major=major, minor=minor: os.mknod(path, mode, os.makedev(major, minor))))
by = barred(*works, shown=count)
known = {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'pts', 'shm', 'mqueue', 'fd', 'stdin', 'stdout', 'stderr', 'console', 'core'}
more = [name for name in before if name not in known]
held(by) if not more else broke(f'in /dev: {more}')`,
  ),
  attempt(
    'the volume’s device',
    'the loop device below /data, by its number and by its path',
    `
import stat
number = os.stat('/data').st_dev
name = f'/dev/loop{os.minor(number)}'
works = [('mknod', lambda: os.mknod('/data/selftest-device', 0o60600, number)), ('mount', lambda: call_or_raise('mount', name.encode(), b'/mnt', b'ext4', 0, None))]
def call_or_raise(what, *arguments):
    answer = call(what, *arguments)
    if answer < 0: raise OSError(-answer, what)
if os.path.exists(name): broke(name)
for line in mounts().splitlines():
    source = line.split(' - ')[1].split()[1]
    if source.startswith('/dev/') and os.path.exists(source): broke(source)
held(f'not in /dev; {barred(*works)}')`,
  ),
  unchanged(
    'sysrq',
    'asking the kernel for help, a harmless one of the keys',
    `
if not os.path.exists('/proc/sysrq-trigger'): held('the kernel has none')
def press():
    with open('/proc/sysrq-trigger', 'w') as file: file.write('h')
held(barred(('write', press), ('chmod', lambda: os.chmod('/proc/sysrq-trigger', 0o666)), ('chown', lambda: os.chown('/proc/sysrq-trigger', 0, 0))))`,
    switches,
  ),
  unchanged(
    'switches of the kernel',
    'opening each file of /proc/sys for writing, making them its own',
    `
works = []
for folder, _, names in os.walk('/proc/sys'):
    for name in names:
        path = f'{folder}/{name}'
        works.append((path, lambda path=path: opened(path, os.O_WRONLY)))
for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sys/kernel/hostname', '/proc/sys/net/ipv4/ip_forward', '/proc/sys'):
    if not os.path.exists(path): continue
    works.append((path, lambda path=path: os.chown(path, 0, 0)))
    works.append((path, lambda path=path: os.chmod(path, 0o777)))
by = barred(*works, shown=count)
held(by) if len(works) > 200 else broke(f'only {len(works)} were there')`,
    switches,
  ),
  attempt(
    'other switches in /proc',
    'opening each other file of /proc for writing that is no process’s own',
    `
works = []
for name in os.listdir('/proc'):
    if name.isdigit() or name in ('self', 'thread-self', 'sys', 'net', 'mounts', 'keys', 'timer_list', 'kcore', 'sched_debug', 'latency_stats', 'timer_stats'): continue
    paths = [f'/proc/{name}'] if os.path.isfile(f'/proc/{name}') else [f'{folder}/{file}' for folder, _, files in os.walk(f'/proc/{name}') for file in files]
    works += [(path, lambda path=path: opened_if_there(path, os.O_WRONLY)) for path in paths if not os.path.islink(path)]
    works.append((name, lambda path=f'/proc/{name}': os.chown(path, 0, 0)))
by = barred(*works, shown=count)
held(by) if len(works) > 30 else broke(f'only {len(works)} were there')`,
  ),
  attempt(
    '/sys',
    'opening each file that can be written on the host, making folders there',
    `
works = []
for folder, folders, names in os.walk('/sys'):
    for name in names:
        path = f'{folder}/{name}'
        try: mode = os.lstat(path).st_mode
        except OSError: continue
        if mode & 0o222 and mode & 0o170000 == 0o100000: works.append((path, lambda path=path: opened_if_there(path, os.O_WRONLY)))
works.append(('mkdir', lambda: os.mkdir('/sys/selftest')))
works.append(('chown', lambda: os.chown('/sys/kernel', 0, 0)))
held(barred(*works, shown=count)) if len(works) > 50 else broke(f'only {len(works)} were there')`,
  ),
  attempt(
    'cgroups',
    'raising its limits, leaving its cgroup, a release agent, a cgroup of its own',
    `
works = []
for folder, folders, names in os.walk('/sys/fs/cgroup'):
    works += [(name, lambda path=f'{folder}/{name}': opened(path, os.O_WRONLY)) for name in names]
    if 'cgroup.procs' in names:
        works.append(('mkdir', lambda folder=folder: os.mkdir(f'{folder}/selftest')))
        works.append(('release_agent', lambda folder=folder: os.close(os.open(f'{folder}/release_agent', os.O_WRONLY | os.O_CREAT))))
if len(works) < 20: broke(f'only {len(works)} files were there')
held(barred(*works, shown=count))`,
  ),
  attempt(
    'memory and log of the kernel',
    '/proc/kcore, kmsg, kallsyms, kpagecount, syslog, /dev/mem',
    `
answers = {}
for path in ('/proc/kcore', '/proc/kmsg', '/proc/kpagecount', '/proc/kpageflags', '/proc/vmallocinfo', '/proc/slabinfo', '/dev/mem', '/dev/kmsg', '/dev/port', '/sys/kernel/debug/tracing', '/sys/kernel/security/lsm', '/proc/keys', '/sys/firmware/dmi'):
    try:
        found = os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(64)
        if found: raise Through(f'{path}: {found[:16]!r}')
        answers.setdefault('empty', []).append(path)
    except OSError as error: answers.setdefault(name_of(error.errno), []).append(path)
if os.path.exists('/proc/kallsyms'):
    for line in open('/proc/kallsyms'):
        if int(line.split()[0], 16): broke(line)
for line in open('/proc/self/pagemap', 'rb').read(0) or []: pass
with open('/proc/self/pagemap', 'rb') as file:
    file.seek((id(answers) >> 12) * 8); entry = int.from_bytes(file.read(8), 'little')
    if entry & (1 << 55) - 1: broke('physical addresses')
held(f'{count(answers)}; no addresses; {denied(("syslog", 3, ctypes.create_string_buffer(64), 64), ("syslog", 10, None, 0))}')`,
  ),
  attempt(
    'disks and volumes of others',
    'with what the machine was started, which disks it has, the files behind loop devices, what is written there',
    `
import glob
seen = []
for path in ('/proc/cmdline', '/proc/partitions', '/proc/diskstats'):
    if open(path).read(): seen.append(path)
patterns = ('/sys/block/loop*/loop/backing_file', '/sys/class/block/loop*/loop/backing_file', '/sys/dev/block/7:*/loop/backing_file', '/sys/block/loop*/*', '/sys/devices/virtual/block/*', '/sys/fs/ext4/*')
for pattern in patterns: seen += glob.glob(pattern)[:3]
number = os.stat('/data').st_dev
if os.path.exists(f'/sys/dev/block/{os.major(number)}:{os.minor(number)}/size'): seen.append('its own volume')
held('masked: empty files and folders') if not seen else broke(str(seen))`,
  ),
  attempt(
    'what all nodes share',
    'modes, owners, times, attributes and leases of the devices, of what masks /proc, and of the runtime',
    `
import struct
everyone = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', tag, 6, 0xffffffff) for tag in (1, 4, 32))
paths = [f'/dev/{name}' for name in ('null', 'zero', 'full', 'random', 'urandom', 'tty')] + ['/.nexus/rt/agent.cjs', '/.nexus/rt/bin/node', '/.nexus/rt', '/.nexus/config/agent.json']
paths += [path for path in ('/proc/keys', '/proc/cmdline', '/proc/timer_list') if os.path.exists(path)]
works = []
for path in paths:
    works += [(f'mode of {path}', lambda path=path: os.chmod(path, 0o600)), (f'owner of {path}', lambda path=path: os.chown(path, 0, 0)), (f'times of {path}', lambda path=path: os.utime(path, (1, 1)))]
    works += [(f'attribute of {path}', lambda path=path: os.setxattr(path, 'user.selftest', b'x')), (f'list of {path}', lambda path=path: os.setxattr(path, 'system.posix_acl_access', everyone))]
    if not path.startswith('/proc'): works.append((f'place of {path}', lambda path=path: os.rename(path, path + '-moved')))
    if path == '/dev/tty': continue
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    works += [(f'lease on {path}', lambda file=file, kind=kind: lease(file, kind)) for kind in (0, 1)]
def lease(file, kind):
    answer = call('fcntl', file, ctypes.c_ulong(1024), ctypes.c_ulong(kind))
    if answer < 0: raise OSError(-answer, 'lease')
held(barred(*works, also=(errno.EBUSY, errno.ENOTSUP), shown=count))`,
  ),
  attempt(
    'files by handle',
    'opening what lies outside the root by the number that the file system has for it',
    `
room, mount = ctypes.create_string_buffer(136), ctypes.c_int()
ctypes.c_uint32.from_buffer(room).value = 128
works = [('name_to_handle_at', -100, b'/data', room, ctypes.byref(mount), 0)]
guess = (ctypes.c_uint32 * 4)(8, 1, 2, 0)
works += [('open_by_handle_at', descriptor, guess, 0) for descriptor in (os.open('/', os.O_RDONLY), os.open('/data', os.O_RDONLY), os.open('/.nexus/rt', os.O_RDONLY))]
held(denied(*works))`,
  ),
  attempt(
    'roots of other processes',
    '/proc/PID/root, cwd, exe and map_files of the node’s first process and agent, as root and as their user',
    `
works = []
for pid in agents():
    for name in ('root', 'cwd', 'exe', 'map_files', 'ns', 'fd', 'fdinfo', 'task/%d/root' % pid):
        path = f'/proc/{pid}/{name}'
        works.append((f'{pid}/{name}', lambda path=path: os.listdir(path) if name not in ('exe',) else os.readlink(path)))
    works.append((f'{pid}/root/', lambda pid=pid: opened(f'/proc/{pid}/root/etc')))
first = barred(*works, shown=count)
second = as_agent(lambda: barred(*works, shown=count), keeps=(1,))
held(f'as root {first}; as the agent’s user, with any file open to it, {second}')`,
  ),
  attempt(
    'descriptors of the host',
    'opening again what other processes have open, as root and as the agent’s user',
    `
def scan():
    found, refused = [], {}
    for pid in [pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) not in (os.getpid(), os.getppid())]:
        for number in range(64):
            path = f'/proc/{pid}/fd/{number}'
            try: opened(path, os.O_WRONLY); found.append((int(pid), os.readlink(path)))
            except OSError as error: refused.setdefault(name_of(error.errno), []).append(path)
    bad = [entry for entry in found if entry[0] in agents() and entry[1] != '/dev/null']
    if bad: raise Through(str(bad))
    return count(refused)
held(f'as root: {scan()}; as the agent’s user: {as_agent(scan, keeps=(1,))}')`,
  ),
  attempt(
    'the runtime of the node',
    'changing Node, the agent, the loader, its configuration; another folder in their place',
    `
works, before = [], mounts()
for folder, _, names in os.walk('/.nexus/rt'):
    works += [(name, lambda path=f'{folder}/{name}': opened(path, os.O_WRONLY)) for name in names]
    works.append(('new', lambda folder=folder: os.mkdir(f'{folder}/selftest')))
works += [(name, lambda path=f'/.nexus/config/{name}': opened(path, os.O_WRONLY)) for name in ('agent.json', 'agent.creds', 'new')]
works += [('chmod', lambda: os.chmod('/.nexus/rt/agent.cjs', 0o777)), ('unlink', lambda: os.remove('/.nexus/rt/agent.cjs')), ('link', lambda: os.link('/.nexus/rt/agent.cjs', '/.nexus/rt/other'))]
works += [(f'rename {name}', lambda name=name: os.rename(name, name + '-moved')) for name in ('/.nexus', '/.nexus/rt', '/.nexus/config', '/data/.root', '/data', '/proc', '/sys', '/dev', '/tmp')]
works += [(f'rmdir {name}', lambda name=name: os.rmdir(name)) for name in ('/.nexus/rt', '/data/.root', '/data')]
by = barred(*works, also=(errno.EBUSY, errno.ENOENT), shown=count)
held(by) if mounts() == before else broke('the mounts changed')`,
  ),
  attempt(
    'the layer below the root',
    'reaching the folders that the next start mounts: /data/.root, and paths that mounts tell of',
    `
works = [('write', lambda: open('/data/.root/x', 'w').close()), ('mkdir', lambda: os.mkdir('/data/.root/upper')), ('link', lambda: os.symlink('/', '/data/.root/upper')), ('unmount', lambda: (_ for _ in ()).throw(OSError(-call('umount2', b'/data/.root', 2), 'umount2')))]
if os.listdir('/data/.root'): broke(str(os.listdir('/data/.root')))
for path in ('/volume', '/image', '/root/.root', '/volume/.root/upper', '/.nexus/volume'):
    if os.path.exists(path): broke(path)
held(f'hidden by an empty mount: {barred(*works)}')`,
  ),
];
