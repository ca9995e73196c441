/** Attacks on processes: those of the host, the node's first one and its agent; and on their order. */
import { attempt, nodeOf, run, said, type Attack } from './attack.js';

/** Ways to look into a process, each of which works on a process of one's own. */
const TRACING = `
import struct
def look_into(pid):
    room = ctypes.create_string_buffer(8)
    works = [(name, lambda path=f'/proc/{pid}/{name}': open(path, 'rb').read(1)) for name in ('mem', 'environ', 'maps', 'auxv', 'syscall', 'stack', 'io', 'pagemap', 'smaps', 'personality', 'clear_refs')]
    works += [('write mem', lambda: opened(f'/proc/{pid}/mem', os.O_RDWR))]
    by = barred(*works, shown=count)
    tracing = denied(('ptrace', 16, pid, 0, 0), ('ptrace', 0x4206, pid, 0, 0), ('process_vm_readv', pid, room, 0, room, 0, 0), ('process_vm_writev', pid, room, 0, room, 0, 0), ('kcmp', os.getpid(), pid, 0, 0, 0), shown=count)
    descriptor = call('pidfd_open', pid, 0)
    taken = denied(('pidfd_getfd', descriptor, 1, 0), ('process_madvise', descriptor, room, 0, 4, 0), shown=count)
    return f'/proc {by}; ptrace {tracing}; pidfd {taken}'
def control():
    pid = os.fork()
    if pid == 0: time.sleep(60); os._exit(0)
    answer = call('ptrace', 16, pid, 0, 0)
    os.kill(pid, 9)
    try: os.waitpid(pid, 0)
    except OSError: pass
    if answer < 0: raise Through(f'not even a child can be traced ({name_of(-answer)}): nothing was tried')
`;

export const PROCESSES: readonly Attack[] = [
  attempt(
    'processes of others',
    'seen in /proc, signalled by number',
    `
seen = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())
for pid in seen:
    if open(f'/proc/{pid}/status').read().split('NSpid:')[1].split()[0] != str(pid): broke(f'{pid} has another number')
if 1 not in seen or len(seen) > 64: broke(str(seen))
far = []
for pid in range(1, 32768):
    if pid in seen: continue
    try: os.kill(pid, 0); far.append(pid)
    except OSError: pass
far = [pid for pid in far if not any(os.path.exists(f'/proc/{number}/task/{pid}') for number in seen if os.path.exists(f'/proc/{number}')) and os.path.exists(f'/proc/{pid}')]
held(f'a pid namespace of its own, in which it sees {len(seen)}') if not far else broke(str(far))`,
  ),
  attempt(
    'tracing the agent, as root',
    'ptrace, /proc/PID/mem, environ and maps, process_vm_readv, pidfd_getfd; of pid 1, too',
    `${TRACING}
child(control)
found = {look_into(pid) for pid in agents()}
held('; '.join(sorted(found)))`,
  ),
  attempt(
    'tracing the agent, as its user',
    'the same by a process with the agent’s own user id, and all rights to files',
    `${TRACING}
as_agent(control)
found = {as_agent(lambda pid=pid: look_into(pid), keeps=(1,)) for pid in agents()}
held('; '.join(sorted(found)))`,
  ),
  {
    name: 'the process that begins commands',
    tried:
      'looking into the process of runc in the node while it begins a command: its program, root, files and memory',
    isForOwnNodes: true,
    steps: [
      run(`
if os.fork(): held('watching')
null = os.open('/dev/null', os.O_RDWR)
for number in (0, 1, 2): os.dup2(null, number)
looked, through, end = 0, [], time.monotonic() + 240
def name(pid): return open(f'/proc/{pid}/comm').read()
def look(pid, what):
    path = f'/proc/{pid}/{what}'
    # While the kernel puts the command in its place, it tells the numbers of what runc has open, but not what they are.
    if what == 'fd': return [os.readlink(f'{path}/{number}') for number in os.listdir(path)]
    return os.listdir(path) if what == 'map_files' else os.readlink(path) if what in ('exe', 'root', 'cwd') else os.close(os.open(path, os.O_RDONLY))
open('/data/selftest-watch', 'w').close()
while time.monotonic() < end and not os.path.exists('/data/selftest-seen'):
    for pid in [pid for pid in os.listdir('/proc') if pid.isdigit()]:
        for what in ('exe', 'root', 'cwd', 'fd', 'mem', 'environ', 'maps', 'map_files'):
            try:
                if not name(pid).startswith('runc:['): break
                looked += 1; found = look(pid, what)
                # The command may have taken its place meanwhile.
                if name(pid).startswith('runc:['): through.append(f'{what}: {found}')
            except OSError: pass
    if not os.path.exists('/data/selftest-watch'):
        with open('/data/selftest-seen.new', 'w') as file: json.dump([looked, through], file)
        os.rename('/data/selftest-seen.new', '/data/selftest-seen')`),
      ...Array.from({ length: 6 }, () => run('')),
      run(`
os.remove('/data/selftest-watch')
end = time.monotonic() + 60
while time.monotonic() < end and not os.path.exists('/data/selftest-seen'): time.sleep(0.05)
looked, through = json.load(open('/data/selftest-seen')); os.remove('/data/selftest-seen')
held(f'EACCES or gone, {looked} times' if looked else 'it was never seen') if not through else broke(str(through[:3]))`),
    ],
    judge: (results) => said(results[0]?.stdout.includes('watching') === true ? results.at(-1) : results[0]),
  },
  attempt(
    'signals by others',
    'ending the agent and the first process as a user of the node',
    `
works = [(f'{name} to {pid}', lambda pid=pid, number=number: os.kill(pid, number)) for pid in agents() for name, number in (('KILL', 9), ('TERM', 15), ('STOP', 19), ('USR1', 10))]
held(barred(*works, shown=count))`,
    1000,
  ),
  attempt(
    'ending the first process',
    'every signal to pid 1, by root',
    `
before = open('/proc/1/stat').read().rsplit(')', 1)[1].split()[19]
for number in (9, 19, 4, 6, 7, 8, 11, 31):
    try: os.kill(1, number)
    except OSError: pass
time.sleep(0.2)
after = open('/proc/1/stat').read().rsplit(')', 1)[1].split()
held('the kernel passes none of these to the first process of a namespace from within') if after[19] == before and after[0] in 'SR' else broke(str(after))`,
  ),
  attempt(
    'killed last',
    'a better out-of-memory score than other nodes and the host have; a worse one for the agent',
    `
lowest = int(open('/proc/self/oom_score_adj').read())
agent_score = open(f'/proc/{agent_itself()}/oom_score_adj').read()
def write(pid, score):
    with open(f'/proc/{pid}/oom_score_adj', 'w') as file: file.write(str(score))
for score in range(lowest, -1001, -50):
    try: write('self', score)
    except OSError: break
lowest = int(open('/proc/self/oom_score_adj').read())
by = barred(('its own', lambda: write('self', -1000)), ('its own', lambda: write('self', -1)), ('the agent’s', lambda: write(agent_itself(), 1000)), ('the agent’s', lambda: write(agent_itself(), -1)))
if open(f'/proc/{agent_itself()}/oom_score_adj').read() != agent_score: broke('the agent has another')
held(f'{by}; the best is {lowest}') if lowest >= 0 else broke(str(lowest))`,
  ),
  attempt(
    'before all others',
    'nice -20, real-time and deadline scheduling, the best class of I/O',
    `
deadline = (ctypes.c_uint64 * 7)(48 | 6 << 32, 0, 0, 10 ** 7, 3 * 10 ** 7, 3 * 10 ** 7, 0)
by = denied(('setpriority', 0, 0, -20), ('setpriority', 0, 0, -1), ('sched_setscheduler', 0, 1, (ctypes.c_int * 1)(50)), ('sched_setscheduler', 0, 2, (ctypes.c_int * 1)(1)), ('sched_setattr', 0, deadline, 0), ('ioprio_set', 1, 0, 1 << 13))
held(by) if os.getpriority(os.PRIO_PROCESS, 0) >= 0 and os.sched_getscheduler(0) == 0 else broke('it was taken')`,
  ),
  attempt(
    'limits raised',
    'beyond the hard ones, of itself and of the agent',
    `
import resource
works = []
for name in ('NOFILE', 'NPROC', 'MEMLOCK', 'MSGQUEUE', 'SIGPENDING', 'NICE', 'RTPRIO'):
    kind = getattr(resource, f'RLIMIT_{name}')
    soft, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY: continue
    works.append((name, lambda kind=kind, hard=hard: resource.prlimit(0, kind, (hard, hard + 1))))
works.append(('agent', lambda: resource.prlimit(agent_itself(), resource.RLIMIT_NOFILE, (1, 1))))
if len(works) < 4: broke('no limit was there')
held(barred(*works))`,
  ),
  {
    name: 'a core of the agent',
    tried: 'root of the node ends its own agent with SIGABRT, which it may, to find its memory in a file',
    isForOwnNodes: true,
    steps: [
      run(`
import resource
def unbound():
    resource.prlimit(agent_itself(), resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)); return 'raised'
try: raised = as_agent(unbound)
except RuntimeError as error: raised = 'refused'
print(raised, flush=True)
pid = agent_itself()
os.kill(pid, signal.SIGABRT)
for _ in range(300):
    if not os.path.exists(f'/proc/{pid}') or status(pid)['State'].startswith('Z'): break
    time.sleep(0.1)
else: print('still there', flush=True)
time.sleep(1)`),
      { kind: 'ask', at: 'neighbour' },
      { kind: 'restart' },
      run(`
found = [f'{folder}/{name}' for folder in ('/', '/data', '/tmp', '/var/crash', '/var/lib/systemd/coredump', '/.nexus/run', '/data/.agent', '/data/tmp', '/data/chunks') if os.path.isdir(folder) for name in os.listdir(folder) if name.startswith('core')]
broke(str(found)) if found else held('no core is written. It ended its own node alone: the other went on, and it starts again')`),
    ],
    judge: ([first, neighbour, restarted, found]) => {
      if (first?.stdout.includes('still there') === true)
        return { held: false, by: 'it did not end: nothing was tried' };
      const [other, own] = [nodeOf(neighbour), nodeOf(restarted)];
      if (other.status !== 'Running') return { held: false, by: `the other node is ${other.status}` };
      if (own.status !== 'Running') return { held: false, by: `the node is ${own.status} and does not start again` };
      return said(found);
    },
  },
];
