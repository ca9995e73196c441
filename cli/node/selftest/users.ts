/** Attacks that want to be more than a node's root is: another user, more capabilities, other maps. */
import { attempt, run, said, type Attack } from './attack.js';

export const USERS: readonly Attack[] = [
  attempt(
    'who root is',
    'being a user of the host: by the maps of its user namespace',
    `
lines = {kind: [list(map(int, line.split())) for line in open(f'/proc/self/{kind}_map')] for kind in ('uid', 'gid')}
for kind, ranges in lines.items():
    for within, host, size in ranges:
        if host < 0x70000000 or host + size > 2 ** 31: raise Through(f'{kind} {within} is {host} on the host')
if len(lines['uid']) > 2: broke(str(lines))
held(f'root is {lines["uid"][0][1]} on the host, which is nobody there')`,
  ),
  attempt(
    'new maps',
    'writing the maps again, of its own and of the first process',
    `
before = open('/proc/self/uid_map').read()
works = []
for pid in ('self', '1', str(agent_itself())):
    for name, text in (('uid_map', '0 0 1'), ('gid_map', '0 0 1'), ('setgroups', 'allow')):
        def work(path=f'/proc/{pid}/{name}', text=text):
            with open(path, 'w') as file: file.write(text)
        works.append((f'{pid}/{name}', work))
by = barred(*works, shown=count, also=[errno.EINVAL])
held(by) if open('/proc/self/uid_map').read() == before else broke('the map changed')`,
  ),
  attempt(
    'owners beyond the range',
    'files of, and being, users that the node does not have',
    `
open('/data/owned', 'w').close()
for user in (65535, 65536, 70000000, 0x70000000, 2 ** 31 - 1, 2 ** 32 - 2):
    if user == AGENT: continue
    for work in (lambda: os.chown('/data/owned', user, -1), lambda: os.chown('/data/owned', -1, user), lambda: child(lambda: os.setresuid(user, user, user)), lambda: child(lambda: os.setgroups([user]))):
        try: work()
        except (OSError, RuntimeError, OverflowError): continue
        raise Through(f'user {user}')
seen = os.stat('/data/owned'); os.remove('/data/owned')
held('no such id in the maps; the file stays root’s') if (seen.st_uid, seen.st_gid) == (0, 0) else broke(str(seen))`,
  ),
  attempt(
    'more capabilities',
    'setting, keeping, inheriting others than the node’s root has',
    `
few = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 10))
by = denied(('capset', (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xff)),
    ('capset', (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(1 << 21 | few, 1 << 21 | few, 0, 0, 0, 0)))
for bit in range(41):
    if not few >> bit & 1 and _libc.prctl(47, 2, bit, 0, 0) == 0: raise Through(f'ambient capability {bit}')
_libc.prctl(28, 0, 0, 0, 0)
import subprocess
after = subprocess.run(['/.nexus/rt/bin/busybox', 'cat', '/proc/self/status'], capture_output=True, text=True).stdout
sets = {int(line.split()[1], 16) | few for line in after.splitlines() if line.startswith('Cap')}
held(f'{by}; a bounding set of eight') if sets == {few} else broke(after)`,
  ),
  attempt(
    'set-user-id programs',
    'a program of root with the bit, run by another user: for more than a command of root has, and in /data and /tmp',
    `
import shutil, subprocess
few, agent = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 10)), agent_itself()
within = """
import ctypes, errno, json, os, sys
euid, libc, answers = os.geteuid(), ctypes.CDLL(None, use_errno=True), {}
if euid == 0: os.setresgid(0, 0, 0); os.setgroups([]); os.setresuid(0, 0, 0)
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
for name, work in (('unshare', lambda: libc.unshare(0x10000000)), ('mount', lambda: libc.mount(b'none', b'/mnt', b'tmpfs', 0, None)), ('setgid', lambda: libc.setresgid(70000, 70000, 70000))):
    answers[name] = 'given' if work() == 0 else errno.errorcode[ctypes.get_errno()]
for name in ('mem', 'environ', 'fd/1'):
    try: os.close(os.open(f'/proc/{sys.argv[1]}/{name}', os.O_RDONLY)); answers[name] = 'given'
    except OSError as error: answers[name] = errno.errorcode[error.errno]
print(json.dumps([euid, max(int(status[name], 16) | int(sys.argv[2]) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')), int(status['Seccomp']), answers]))
"""
seen = {}
for folder in ('/data', '/tmp', '/dev', '/usr/local/bin'):
    path = f'{folder}/selftest/python3'
    try: os.makedirs(f'{folder}/selftest'); shutil.copy(os.path.realpath(sys.executable), path)
    except OSError as error:
        if folder == '/usr/local/bin': raise
        shutil.rmtree(f'{folder}/selftest', ignore_errors=True)
        continue
    os.chown(path, 0, 0); os.chmod(path, 0o6755)
    if not os.stat(path).st_mode & 0o4000: broke('the bit was not set: nothing was tried')
    def start():
        become(1000); return subprocess.run([path, '-c', within, str(agent), str(few)], capture_output=True, text=True).stdout
    try: seen[folder] = json.loads(child(start))
    finally: shutil.rmtree(f'{folder}/selftest')
for folder, (euid, most, filters, answers) in seen.items():
    if euid == 0 and folder != '/usr/local/bin': raise Through(f'root by a program in {folder}')
    if most != few: raise Through(f'capabilities {most:x} in {folder}')
    if filters != 2: raise Through(f'no list of system calls in {folder}')
    for name, answer in answers.items():
        if answer not in ('EPERM', 'EACCES', 'EINVAL'): raise Through(f'{name}: {answer} in {folder}')
if '/data' not in seen or '/tmp' not in seen: broke(f'tried in {sorted(seen)} alone')
held('the eight capabilities of a command and its list of system calls, no look at the agent; nosuid on /data and /tmp' if seen['/usr/local/bin'][0] == 0 else 'stays user 1000: the controller was started with no_new_privs')`,
  ),
  attempt(
    'capabilities of files',
    'giving a program capabilities in its attributes, and running it as another user',
    `
import shutil, struct, subprocess
os.makedirs('/usr/local/selftest')
path, works = '/usr/local/selftest/python3', []
shutil.copy(os.path.realpath(sys.executable), path); os.chmod(path, 0o755)
try:
    for revision, rest in ((0x02000000, b''), (0x03000000, struct.pack('<I', 0))):
        for effective in (0, 1):
            for low, high in ((0xffffffff, 0x1ff), (1 << 13, 0)):
                value = struct.pack('<5I', revision | effective, low, 0, high, 0) + rest
                works.append((f'{revision:x} {low:x} {effective}', lambda value=value: os.setxattr(path, 'security.capability', value)))
    by = barred(*works, shown=count)
    def start():
        become(1000); return subprocess.run([path, '-c', 'print([line for line in open("/proc/self/status") if "CapPrm" in line][0])'], capture_output=True, text=True).stdout
    gained = child(start)
finally: shutil.rmtree('/usr/local/selftest')
held(f'{by}; the program has none') if int(gained.split()[1], 16) == 0 else broke(gained)`,
  ),
  {
    name: 'an image’s own files',
    tried: 'changing a program of the image, for all nodes of that image',
    isForOwnNodes: true,
    steps: [
      run(`
path = '/usr/bin/env' if os.path.exists('/usr/bin/env') else '/bin/sh'
target = os.path.realpath(path)
before = open(target, 'rb').read()
with open('/etc/selftest-mark', 'w') as file: file.write('here')
with open('/etc/passwd', 'a') as file: file.write('selftest:x:0:0::/:/bin/sh' + chr(10))
os.chmod('/etc', 0o777)
held('changed')`),
      run(
        `
found = 'selftest' in open('/etc/passwd').read() or os.path.exists('/etc/selftest-mark') or os.stat('/etc').st_mode & 0o022
broke('the other node has it') if found else held('goes to the node’s own layer; the other node does not see it')`,
        { at: 'neighbour' },
      ),
      run(`
lines = open('/etc/passwd').read().splitlines()
with open('/etc/passwd', 'w') as file: file.write(''.join(line + chr(10) for line in lines if not line.startswith('selftest:')))
os.chmod('/etc', 0o755); os.remove('/etc/selftest-mark')
held('')`),
    ],
    judge: ([changed, seen]) => (said(changed).held ? said(seen) : said(changed)),
  },
];
