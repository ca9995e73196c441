/** Attacks from within on what a sandbox shares: other processes, the machine's room and time, the next invocation. */
import { attempt, bomb, PRELUDE, said, type Attack } from './attack.js';

const MB = 1024 * 1024;

export const PROCESSES: readonly Attack[] = [
  attempt(
    'processes of others',
    'seen in /proc, signalled, the parent found',
    `
seen = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())
if [pid for pid in seen if pid > 2]: broke(f'sees {seen}')
for pid in range(3, 4000):
    try:
        os.kill(pid, 0); broke(f'process {pid}')
    except ProcessLookupError: pass
if os.getppid() != 1: broke('another parent')
held(f'a pid namespace of its own, in which it sees {seen}')`,
  ),
  attempt(
    'ptrace',
    "tracing, reading and taking another process's memory and descriptors",
    `
for path in ('/proc/1/mem', '/proc/1/environ', '/proc/1/maps', '/proc/1/fd/0', '/proc/1/root', '/proc/1/cwd', '/proc/1/ns/user'):
    try:
        os.stat(path) if 'ns' not in path else os.readlink(path)
        open(path, 'rb').read(1); broke(path)
    except OSError: pass
room = (ctypes.c_long * 2)()
refused(('ptrace', 16, 1, 0, 0), ('ptrace', 0, 0, 0, 0), ('process_vm_readv', 1, room, 1, room, 1, 0), ('process_vm_writev', 1, room, 1, room, 1, 0), ('kcmp', 1, 2, 0, 0, 0), ('pidfd_getfd', 3, 0, 0))`,
  ),
  attempt(
    'ending the first process',
    'killing the process that reports the end',
    `
for number in range(1, 65):
    try: os.kill(1, number)
    except OSError: pass
try: os.kill(-1, signal.SIGKILL)
except OSError: pass
time.sleep(0.1)
if not os.path.exists('/proc/self'): broke('gone')
held('pid 1 of the namespace takes no signal from within')`,
  ),
  attempt(
    'shared memory',
    'segments, queues and semaphores that others might have',
    `refused(('shmget', 1, 4096, 0o1666), ('msgget', 1, 0o1666), ('semget', 1, 1, 0o1666), ('mq_open', b'x', 66, 0o666, None))`,
  ),
  attempt(
    'what the template left',
    'descriptors, environment, paths of the host, objects of the process it was forked from',
    `
import gc
links = {name: os.readlink(f'/proc/self/fd/{name}') for name in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{name}')}
others = {name: link for name, link in links.items() if int(name) > 2 and not link.startswith('/proc/')}
if others: broke(str(others))
if {name for name in os.environ} - {'PATH', 'HOME', 'USER', 'LANG', 'PYTHONDONTWRITEBYTECODE'}: broke(str(dict(os.environ)))
left = open('/proc/self/environ').read()
if left: broke(left)
for line in open('/proc/self/mountinfo'):
    if line.split()[3] != '/' or 'dir=/' in line: broke(line)
for line in open('/proc/self/cgroup'):
    if line.strip().split(':')[2] != '/': broke(line)
frame = sys._getframe()
while frame is not None:
    for value in list(frame.f_locals.values()):
        if type(value).__name__ in ('Launcher', 'Sandbox') or isinstance(value, dict) and 'cgroups' in value: broke(str(value))
    frame = frame.f_back
for value in gc.get_objects():
    if type(value).__name__ == 'Launcher' or type(value) is dict and 'cgroups' in value and 'rlimits' in value: broke(str(value))
for kind in ('uid_map', 'gid_map'):
    if open(f'/proc/self/{kind}').read().split()[1] in ('0', '1000'): broke('the user is one of the host')
held('three descriptors, no environment, no path of the host, a mapped user')`,
  ),
  {
    name: 'daemon',
    tried: 'forking twice, a session of its own, ignoring every signal, outliving the code',
    steps: [
      {
        code: `${PRELUDE}
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(0.01)
    os._exit(0)
print('left', flush=True)`,
      },
      {
        code: `${PRELUDE}\nseen = [pid for pid in os.listdir('/proc') if pid.isdigit()]\nheld('killed with its pid namespace') if len(seen) <= 2 else broke(str(seen))`,
      },
    ],
    judge: ([first, second]) =>
      first?.reason === 'exit' ? said(second) : { held: false, by: `ended: ${first?.reason ?? ''}` },
  },
  bomb(
    'ignoring SIGTERM',
    'taking no signal, at the time limit',
    `
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
while True: pass`,
    'timeout',
    { timeoutMs: 300 },
  ),
];

export const EXHAUSTION: readonly Attack[] = [
  attempt(
    'fork bomb',
    'as many processes as there can be',
    `
count = 0
try:
    while count < 5000:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        count += 1
    broke(f'{count} processes')
except OSError as error:
    held(f'{name_of(error.errno)} after {count} processes')`,
  ),
  attempt(
    'thread bomb',
    'as many threads as there can be',
    `
import threading
count = 0
try:
    while count < 5000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); count += 1
    print(json.dumps({'broke': f'{count} threads'}), flush=True)
except RuntimeError as error:
    print(json.dumps({'held': f'{error} after {count} threads'}), flush=True)
os._exit(0)`,
  ),
  bomb(
    'memory bomb',
    'more than the limit, touched page by page',
    `
held_pages = []
while True: held_pages.append(bytearray(${MB}))`,
    'out_of_memory',
    { memoryMb: 64 },
  ),
  bomb(
    'memory bomb in children',
    'the same in many processes at once',
    `
for _ in range(8):
    if os.fork() == 0: break
pages = []
while True: pages.append(bytearray(${MB}))`,
    'out_of_memory',
    { memoryMb: 64 },
  ),
  bomb(
    'memory in files',
    'filling the file systems that memory pays for',
    `
for folder in ('/tmp', '/mnt'):
    for at in range(64):
        try:
            with open(f'{folder}/{at}', 'wb') as file:
                for _ in range(64): file.write(bytes(${MB}))
        except OSError: pass
pages = []
while True: pages.append(bytearray(${MB}))`,
    'out_of_memory',
    { memoryMb: 64 },
  ),
  attempt(
    'disk fill',
    'large files, many files, sparse files',
    `
written = 0
try:
    for at in range(100):
        with open(f'/tmp/{at}', 'wb') as file:
            for _ in range(64): written += file.write(bytes(${MB}))
    broke(f'{written} bytes')
except OSError as error: first = name_of(error.errno)
for at in range(100):
    try: os.remove(f'/tmp/{at}')
    except OSError: pass
count = 0
try:
    while count < 100000: open(f'/tmp/n{count}', 'w').close(); count += 1
    broke(f'{count} files')
except OSError as error: second = name_of(error.errno)
held(f'{first} after {written >> 20} MB, {second} after {count} files')`,
  ),
  bomb(
    'output flood',
    'printing without end',
    `
line = b'x' * 65536
while True:
    os.write(1, line); os.write(2, line)`,
    'output_limit',
  ),
  attempt(
    'the way back',
    'keeping the controller busy with what is written to standard input',
    `
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
try:
    written = sum(os.write(0, bytes(65536)) for _ in range(1000))
    broke(f'{written} bytes')
except OSError as error: held(name_of(error.errno))`,
  ),
  attempt(
    'descriptors',
    'opening until nothing is left, raising the limit',
    `
import resource
opened = []
try:
    while len(opened) < 100000: opened.append(os.open('/dev/null', 0))
    broke(f'{len(opened)} descriptors')
except OSError as error:
    count, answer = len(opened), name_of(error.errno)
for descriptor in opened: os.close(descriptor)
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100000, 100000)); broke('the limit was raised')
except (OSError, ValueError): held(f'{answer} after {count}, and the limit stays')`,
  ),
  bomb(
    'pipes',
    'memory of the kernel, in the buffers of pipes',
    `
import fcntl
pipes = []
while True:
    if len(pipes) < 120: pipes.append(os.pipe())
    for _, end in pipes:
        for room in (1 << 20, 1 << 16, 1 << 12):
            try: fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, room); break
            except OSError: pass
        os.set_blocking(end, False)
        try:
            while True: os.write(end, bytes(65536))
        except BlockingIOError: pass
    if len(pipes) == 120: break
pages = []
while True: pages.append(bytearray(${MB}))`,
    'out_of_memory',
    { memoryMb: 64 },
  ),
  attempt(
    'timers',
    'as many as there can be, each as often as can be',
    `
made, timer = 0, ctypes.c_int()
_signals = (ctypes.c_int * 16)(0, 0, 0, 1)
number = 222 if _x86 else 107
while made < 100000:
    ctypes.set_errno(0)
    if _libc.syscall(number, 1, _signals, ctypes.byref(timer)) == -1: break
    made += 1
held(f'{name_of(ctypes.get_errno())} after {made} timers') if made < 1000 else broke(f'{made} timers')`,
  ),
  attempt(
    'processor',
    'working on every core at once',
    `
import multiprocessing
start = time.monotonic()
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        while time.monotonic() - start < 1: pass
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
import resource
used = resource.getrusage(resource.RUSAGE_CHILDREN)
share = (used.ru_utime + used.ru_stime) / (time.monotonic() - start)
held(f'{share:.2f} cores of time for four processes') if share < 1.3 else broke(f'{share:.2f} cores')`,
  ),
];

export const TRACES: readonly Attack[] = [
  {
    name: 'files for the next one',
    tried: 'leaving files, a changed module and a running process for the next invocation',
    steps: [
      {
        code: `${PRELUDE}
os.makedirs('/tmp/json', exist_ok=True)
for path in ('/tmp/left', '/tmp/os.py', '/tmp/json/__init__.py', '/mnt/left', '/dev/shm/left'):
    open(path, 'w').write('print("poisoned")')
json.dumps = lambda *_: 'poisoned'
os.left = sys.modules['left'] = 1
print('left', flush=True)`,
      },
      {
        code: `${PRELUDE}
found = [path for folder in ('/tmp', '/mnt', '/dev/shm') for path in os.listdir(folder)]
if found or hasattr(os, 'left') or 'left' in sys.modules: broke(str(found))
held('a sandbox serves one invocation; nothing of it is kept')`,
      },
    ],
    judge: ([first, second]) =>
      first?.stdout.includes('left') === true ? said(second) : { held: false, by: 'the first step failed' },
  },
  {
    name: 'guessing numbers',
    tried: 'the same random numbers in two sandboxes of one template',
    steps: [1, 2].map(() => ({
      code: `${PRELUDE}\nimport random, secrets, uuid\nprint(random.random(), secrets.token_hex(8), uuid.uuid4(), flush=True)`,
    })),
    judge: ([first, second]) => {
      const one = first?.stdout.split(' ') ?? [];
      const other = second?.stdout.split(' ') ?? [];
      const differ = one.length === 3 && other.length === 3 && one.every((word, at) => word !== other[at]);
      return {
        held: differ,
        by: differ ? 'every sandbox seeds anew' : `${first?.stdout ?? ''} ${second?.stdout ?? ''}`,
      };
    },
  },
];
