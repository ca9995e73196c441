/** Attacks on the machine's room and time: each uses up something, and has to find an end of it that is its own. */
import { attempt, bomb, type Attack } from './attack.js';

const MB = 1024 * 1024;

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
