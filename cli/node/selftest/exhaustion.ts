/** Attacks on the machine's room and time: each uses up something, and has to find an end of it that is its own. */
import { open } from 'node:fs/promises';
import type { Verdict } from '../../selftest/attack.js';
import { nodeOf, run, said, exhaust, type Attack, type StepResult } from './attack.js';

const MB = 1024 * 1024;
const KILLED = 137;

/** Whether the host still makes a terminal; it is gone with its descriptor. */
async function opensTerminal(): Promise<string> {
  try {
    await using _terminal = await open('/dev/ptmx', 'r+');
    return 'one';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'none';
  }
}

const killed = (result: StepResult | undefined): Verdict => ({
  held: result?.exitCode === KILLED,
  by:
    result?.exitCode === KILLED
      ? 'the command was killed at the limit; the agent goes on'
      : `exit code ${result?.exitCode ?? -1}; ${result?.stdout ?? ''}`,
});

export const EXHAUSTION: readonly Attack[] = [
  exhaust(
    'fork bomb',
    'as many processes as there can be',
    `
children = []
try:
    while len(children) < 4000:
        pid = os.fork()
        if pid == 0: time.sleep(120); os._exit(0)
        children.append(pid)
    ended = f'{len(children)} processes'
except OSError as error: ended = error.errno
for pid in children: os.kill(pid, 9)
for pid in children: os.waitpid(pid, 0)
held(f'{name_of(ended)} after {len(children)}') if ended == errno.EAGAIN and len(children) < 600 else broke(str(ended))`,
  ),
  exhaust(
    'thread bomb',
    'as many threads as there can be',
    `
import threading
threading.stack_size(65536)
count_ = 0
try:
    while count_ < 4000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); count_ += 1
    print(json.dumps({'broke': f'{count_} threads'}), flush=True)
except RuntimeError as error: print(json.dumps({'held': f'{error} after {count_}'}), flush=True)
os._exit(0)`,
  ),
  exhaust(
    'memory bomb',
    'more memory than the node has, touched page by page',
    `
pages = []
while True: pages.append(bytearray(${MB}))`,
    killed,
  ),
  exhaust(
    'memory in files',
    'filling /tmp, /dev/shm, /dev, /.nexus and the names in memory, which memory pays for',
    `
written = {}
for folder in ('/tmp', '/dev/shm', '/dev', '/.nexus', '/.nexus/run'):
    path, written[folder] = f'{folder}/selftest-fill', 0
    try:
        with open(path, 'wb', buffering=0) as file:
            while written[folder] < 256 * ${MB}: written[folder] += file.write(bytes(65536))
        raise Through(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES): broke(f'{folder}: {name_of(error.errno)}')
for folder in written:
    try: os.remove(f'{folder}/selftest-fill')
    except OSError: pass
held('ENOSPC after ' + ', '.join(f'{size >> 10} KiB in {folder}' for folder, size in written.items()))`,
  ),
  exhaust(
    'inodes in memory',
    'empty files without end in the file systems of memory',
    `
import shutil
counts, most = {}, 100000
for folder in ('/tmp', '/dev', '/.nexus', '/dev/shm'):
    os.mkdir(f'{folder}/selftest'); counts[folder] = 0
    try:
        while counts[folder] < most: os.close(os.open(f'{folder}/selftest/{counts[folder]}', os.O_CREAT | os.O_EXCL)); counts[folder] += 1
    except OSError as error:
        if error.errno != errno.ENOSPC: raise Through(f'{folder}: {name_of(error.errno)}')
# All at once, so that their sum is what a command still has to fit beside.
pages = bytearray(8 * ${MB})
for folder in counts: shutil.rmtree(f'{folder}/selftest')
held('ENOSPC after ' + ', '.join(f'{number} in {folder}' for folder, number in counts.items())) if max(counts.values()) < most else broke(str(counts))`,
  ),
  exhaust(
    'memory in sockets',
    'connections and datagrams of the node to itself that nobody reads, twice the node’s memory of them',
    `
most, written, kept = 256 * ${MB}, 0, []
door = socket.socket(); door.bind(('127.0.0.1', 0)); door.listen(400)
while written < most and len(kept) < 300:
    one = socket.socket(); one.settimeout(10)
    try: one.connect(door.getsockname()); kept += [one, door.accept()[0]]
    except OSError: break
    one.setblocking(False)
    try:
        while written < most: written += one.send(bytes(65536))
    except OSError: pass
datagrams, ends = 0, []
for _ in range(200):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(('127.0.0.1', 0)); one.setblocking(False); ends.append(one)
    try:
        for _ in range(8): one.sendto(bytes(32768), one.getsockname())
    except OSError: pass
for one in ends:
    try:
        while True: datagrams += len(one.recv(65536))
    except OSError: pass
held(f'{written >> 20} MB in connections, {datagrams >> 20} MB in datagrams') if written + datagrams < 128 * ${MB} else broke(f'{written >> 20} MB in connections, {datagrams >> 20} MB in datagrams')`,
    (result) => (result?.exitCode === KILLED ? killed(result) : said(result)),
  ),
  exhaust(
    'segments',
    'System V segments, which outlive their process',
    `
made = []
_libc.shmat.restype = ctypes.c_void_p
while len(made) < 1000:
    ctypes.set_errno(0)
    number = _libc.shmget(0, ${MB}, 0o1600)
    if number < 0: break
    made.append(number)
why = name_of(ctypes.get_errno())
for number in made: _libc.shmctl(number, 0, None)
held(f'{why} after {len(made)} MB') if len(made) < 64 else broke(f'{len(made)} MB')`,
  ),
  {
    name: 'disk fill',
    tried: 'the volume to its last block, then a start',
    isForOwnNodes: true,
    steps: [
      run(`
written = 0
try:
    with open('/data/selftest-fill', 'wb', buffering=0) as file:
        # Reserved first: written by itself, that much can take a minute on a slow disk.
        for size in (${MB}, 4096):
            try:
                while written < 4096 * ${MB}: os.posix_fallocate(file.fileno(), written, size); written += size
            except OSError as error:
                if error.errno != errno.ENOSPC: raise
        file.seek(0, 2)
        while written < 4096 * ${MB}: written += file.write(bytes(4096))
    broke(f'{written} bytes')
except OSError as error: first = name_of(error.errno)
held(f'{first} after {written >> 20} MB')`),
      { kind: 'restart' },
      run(
        `os.remove('/data/selftest-fill'); open('/data/one', 'w').close(); os.remove('/data/one'); held('and it starts again')`,
      ),
    ],
    judge: ([filled, restarted, after]) => {
      if (!said(filled).held) return said(filled);
      if (nodeOf(restarted).status !== 'Running') return { held: false, by: `the node is ${nodeOf(restarted).status}` };
      return { held: said(after).held, by: `${said(filled).by}, ${said(after).by}` };
    },
  },
  exhaust(
    'inotify',
    'instances and watches, which the kernel counts for each user',
    `
instances, watches = [], 0
while len(instances) < 100000:
    one = call('inotify_init1', 0)
    if one < 0: break
    instances.append(one)
why = name_of(-one)
for one in instances[1:]: os.close(one)
held(f'{why} after {len(instances)} instances, of a user of its own') if len(instances) < 20000 else broke(f'{len(instances)} instances')`,
  ),
  exhaust(
    'descriptors and pipes',
    'opening until nothing is left, and the memory in pipes',
    `
import resource
ends, why = [], ''
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
try:
    while len(ends) < 200000: ends.extend(os.pipe())
    broke(f'{len(ends)} descriptors')
except OSError as error: why = name_of(error.errno)
held(f'{why} after {len(ends)}, the limit is {hard}') if len(ends) <= hard else broke(f'{len(ends)} descriptors')`,
  ),
  {
    name: 'terminals',
    tried: 'pseudo terminals until there are none, held while another node and the host ask for one',
    isForOwnNodes: true,
    steps: [
      { kind: 'look', look: opensTerminal },
      run(`
ends = []
try:
    while len(ends) < 900: ends.append(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY))
    broke(f'{len(ends)} terminals')
except OSError as error: why = error.errno
if why != errno.ENOSPC: broke(name_of(why))
if os.fork(): held(f'ENOSPC after {len(ends)}')
null = os.open('/dev/null', os.O_RDWR)
for number in (0, 1, 2): os.dup2(null, number)
open('/data/selftest-terminals', 'w').close()
end = time.monotonic() + 120
while time.monotonic() < end and os.path.exists('/data/selftest-terminals'): time.sleep(0.1)`),
      run(`os.close(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)); held('another node still gets one')`, {
        at: 'neighbour',
      }),
      { kind: 'look', look: opensTerminal },
      run(`
try: os.close(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)); why = None
except OSError as error: why = error.errno
os.remove('/data/selftest-terminals')
held('held meanwhile') if why == errno.ENOSPC else broke('they were not held: nothing was tried')`),
      { kind: 'ask' },
    ],
    judge: ([before, taken, other, host, meanwhile, after]) => {
      if (before?.stdout !== 'one') return { held: false, by: 'the host has none to begin with: nothing was tried' };
      for (const result of [taken, other, meanwhile]) if (!said(result).held) return said(result);
      if (host?.stdout !== 'one') return { held: false, by: `the host gets ${host?.stdout ?? ''}` };
      const { status } = nodeOf(after);
      return {
        held: status === 'Running',
        by: `${said(taken).by}; ${said(other).by}, and the host; the node is ${status}`,
      };
    },
  },
  exhaust(
    'message queues',
    'POSIX queues, whose memory is the kernel’s',
    `
made, attributes = [], (ctypes.c_long * 8)(0, 10, 8192, 0)
while len(made) < 2000:
    number = call('mq_open', f'selftest{len(made)}'.encode(), 0o102, 0o600, attributes)
    if number < 0: break
    os.close(number); made.append(f'selftest{len(made)}')
for name in made: os.remove(f'/dev/mqueue/{name}')
held(f'{name_of(-number)} after {len(made)} queues') if len(made) < 1000 else broke(f'{len(made)} queues')`,
  ),
];
