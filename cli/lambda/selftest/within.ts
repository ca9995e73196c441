/** Attacks from within on what a sandbox shares: other processes, and the next invocation. */
import { attempt, bomb, said, type Attack } from './attack.js';
import { PRELUDE } from '../../selftest/prelude.js';

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
