/** Attacks the next start of a node, which the host's root begins, by what the node's root has left for it to read. */
import { attempt, nodeOf, run, said, type Attack } from './attack.js';

/** Attack A, restart, and a look at what came of it. */
const planted = (name: string, tried: string, plant: string, look: string): Attack => ({
  name,
  tried,
  isForOwnNodes: true,
  steps: [run(plant), { kind: 'restart' }, run(look)],
  judge: ([first, restarted, found]) => {
    if (!said(first).held) return said(first);
    const { status } = nodeOf(restarted);
    return status === 'Running' ? said(found) : { held: false, by: `the node is ${status}` };
  },
});

/** A program that leaves a mark where it ran, and with which capabilities. */
const PROGRAM = `
program = '#!/.nexus/rt/bin/busybox sh' + chr(10) + 'cat /proc/self/status > /data/ran-$(basename $0)' + chr(10)
`;

const NOTHING_RAN = `
ran = [name for name in os.listdir('/data') if name.startswith('ran-')]
few = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 10))
if int(status()['CapBnd'], 16) != few: broke(status()['CapBnd'])
for pid in agents():
    if int(status(pid)['CapEff'], 16): broke(f'{pid}: {status(pid)["CapEff"]}')
`;

export const START: readonly Attack[] = [
  planted(
    'links for the next start',
    'links to the runtime and to / in place of the folders that are mounted at a start',
    `
made = []
for name in ('/proc', '/dev', '/sys', '/tmp', '/data', '/.nexus', '/data/.root', '/data/.root/upper', '/data/.root/work'):
    for work in (lambda: os.rename(name, name + '-moved'), lambda: os.rmdir(name), lambda: os.symlink('/.nexus/rt', name)):
        try: work(); made.append(name)
        except OSError: pass
import shutil
for name, target in (('/data/chunks', '/'), ('/data/tmp', '/.nexus/rt'), ('/data/.agent', '/etc')):
    shutil.rmtree(name); os.symlink(target, name); made.append(name)
if set(made) - {'/data/chunks', '/data/tmp', '/data/.agent'}: broke(str(made))
held('planted')`,
    `${NOTHING_RAN}
import stat
for name in ('/data/chunks', '/data/tmp', '/data/.agent'):
    seen = os.lstat(name)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != AGENT: broke(f'{name} is still a link')
if os.stat('/').st_uid != 0 or os.stat('/etc').st_uid != 0 or os.stat('/.nexus/rt').st_uid == AGENT: broke('a link was followed')
held('mounts can’t be moved; links are not followed, and a folder takes their place')`,
  ),
  planted(
    'programs for the next start',
    'own programs and libraries at the paths that a start might run or load: busybox, mount, fsck, init, ld.so.preload',
    `${PROGRAM}
for path in ('/data/bin/busybox', '/data/.agent/init', '/sbin/mount.overlay', '/sbin/mount.ext4', '/bin/setpriv', '/usr/bin/init', '/usr/bin/busybox', '/sbin/e2fsck', '/sbin/init', '/usr/sbin/ip'):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path): continue
    with open(path, 'w') as file: file.write(program)
    os.chmod(path, 0o755)
for path in ('/etc/ld.so.preload', '/etc/ld.so.cache', '/lib/ld-selftest'):
    with open(path, 'w') as file: file.write('/data/none.so' + chr(10))
held('planted')`,
    `${NOTHING_RAN}
os.remove('/etc/ld.so.preload')
maps = [path for path in ('/data/none.so',) if os.path.exists(path)]
for path in ('/data/bin/busybox', '/data/.agent/init', '/sbin/mount.overlay', '/sbin/mount.ext4', '/bin/setpriv', '/usr/bin/init', '/usr/bin/busybox', '/sbin/e2fsck', '/sbin/init', '/usr/sbin/ip', '/lib/ld-selftest'):
    try:
        if 'ran-$' in open(path, errors='ignore').read(): os.remove(path)
    except OSError: pass
held('nothing of the node is run or read by a start') if not ran else broke(str(ran))`,
  ),
  planted(
    'settings for the next start',
    'OpenSSL settings that load a library into whatever reads them, as Node does, which does not start without it',
    `
settings = ['nodejs_conf = n', 'openssl_conf = n', '[n]', 'providers = p', '[p]', 'selftest = e', '[e]', 'module = /data/none.so', 'activate = 1']
for folder in ('/etc/ssl', '/usr/lib/ssl', '/usr/local/ssl', '/data/.agent'):
    os.makedirs(folder, exist_ok=True)
    try: os.rename(f'{folder}/openssl.cnf', f'{folder}/openssl.cnf-before')
    except FileNotFoundError: pass
    with open(f'{folder}/openssl.cnf', 'w') as file: file.write(chr(10).join(settings) + chr(10))
held('planted')`,
    `${NOTHING_RAN}
for folder in ('/etc/ssl', '/usr/lib/ssl', '/usr/local/ssl', '/data/.agent'):
    os.remove(f'{folder}/openssl.cnf')
    try: os.rename(f'{folder}/openssl.cnf-before', f'{folder}/openssl.cnf')
    except FileNotFoundError: pass
held('the agent started, and reads no settings but its own') if not ran else broke(str(ran))`,
  ),
  planted(
    'names for the next start',
    'hosts, hostname, resolv.conf and passwd as links to files that a start would write',
    `
with open('/data/victim', 'w') as file: file.write('untouched')
for name in ('hosts', 'hostname', 'resolv.conf'):
    path = f'/etc/{name}'
    for work in (lambda: os.remove(path), lambda: os.rename(path, path + '-moved'), lambda: os.symlink('/data/victim', path)):
        try: work()
        except OSError: pass
os.rename('/etc', '/etc-moved') if False else None
held('planted')`,
    `${NOTHING_RAN}
text = open('/data/victim').read()
if text != 'untouched': broke(f'a start wrote {text[:40]!r} through a link')
if facts['node']['ip'] not in open('/etc/hosts').read(): broke('/etc/hosts is not the runtime’s')
os.remove('/data/victim')
held('they are mounted from memory; links below /etc are not followed')`,
  ),
];

/** Beside the suite: what the node's root may read, and what it is worth. */
export const SECRETS: readonly Attack[] = [
  attempt(
    'reading the credentials',
    'by a user of the node: the agent’s credentials, configuration and chunks',
    `
works = [(path, lambda path=path: os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(1)) for path in ('/.nexus/config/agent.creds', '/.nexus/config/agent.json', '/data/chunks', '/data/.agent', '/data/tmp')]
held(barred(*works))`,
    1000,
  ),
];
