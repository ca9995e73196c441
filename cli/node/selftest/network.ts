/** Attacks over the network of nodes: on services of the host, on the bus, on other nodes. */
import { attempt, nodeOf, run, said, type Attack, type Step } from './attack.js';

/** Subjects that a node must neither hear nor speak on, as Python: `prefix`, `own` and `other` are variables there. */
const SUBJECTS = `dict(
    heard=['>', 'nexus.>', f'{prefix}.>', f'{prefix}.command.*', f'{prefix}.command.{other}', f'{prefix}.agent.{other}.heartbeat', f'{prefix}.pulse', '_INBOX.>', '$SYS.>'],
    spoken=[f'{prefix}.command.{other}', f'{prefix}.command.{own}', f'{prefix}.agent.{other}.heartbeat', f'{prefix}.agent.{other}.report', f'{prefix}.pulse', '$SYS.REQ.SERVER.PING', '_INBOX.selftest'])`;

const reachable: Step = { kind: 'look', look: async (seen) => String(await seen.isReachable()) };
const received: Step = { kind: 'look', look: (seen) => Promise.resolve(seen.takeReceived().join(', ')) };

/** Reaches for services that answer to the host itself, before the attack. */
const reach = (name: string, tried: string, code: string): Attack => ({
  name,
  tried,
  steps: [reachable, run(code), received],
  judge: ([before, result, after]) => {
    if (before?.stdout !== 'true') return { held: false, by: 'the service answers to nobody: nothing was tried' };
    if (after?.stdout !== '') return { held: false, by: `the host has received: ${after?.stdout ?? ''}` };
    return said(result);
  },
});

/** Told of a neighbour that answers at its data port, as isolated ones do, and by nothing at any other. */
const ISOLATED = ', isolated';
const NOTHING_ARRIVED = 'nothing arrived';

const CONNECTING = `
def connect(host, port, family=socket.AF_INET, wait=10):
    """None, or why it was not answered."""
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(wait)
        try: one.connect((host, port) if family == socket.AF_INET else (host, port, 0, socket.if_nametoindex('eth0')))
        except OSError as error: return name_of(error.errno) if error.errno else 'no answer'
bus = json.load(open('/.nexus/config/agent.json'))['natsUrl'].split('//')[1].split(':')
bus = (bus[0], int(bus[1]))
`;

/** Signs in with the agent's credentials, with nothing but Python: Ed25519 of RFC 8032, and the text protocol of NATS. */
const BUS = `${CONNECTING}
import base64, hashlib
_p, _l = 2 ** 255 - 19, 2 ** 252 + 27742317777372353535851937790883648493
_d = -121665 * pow(121666, _p - 2, _p) % _p
def _add(one, other):
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % _p, (one[1] + one[0]) * (other[1] + other[0]) % _p
    c, d = 2 * one[3] * other[3] * _d % _p, 2 * one[2] * other[2] % _p
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _p, g * h % _p, f * g % _p, e * h % _p
def _times(number, point):
    sum_ = (0, 1, 1, 0)
    while number:
        if number & 1: sum_ = _add(sum_, point)
        point, number = _add(point, point), number >> 1
    return sum_
_y = 4 * pow(5, _p - 2, _p) % _p
_x2 = (_y * _y - 1) * pow(_d * _y * _y + 1, _p - 2, _p)
_x = pow(_x2, (_p + 3) // 8, _p)
if (_x * _x - _x2) % _p: _x = _x * pow(2, (_p - 1) // 4, _p) % _p
if _x & 1: _x = _p - _x
_base = (_x, _y, 1, _x * _y % _p)
def _packed(point):
    inverse = pow(point[2], _p - 2, _p)
    return int.to_bytes(point[1] * inverse % _p | (point[0] * inverse % _p & 1) << 255, 32, 'little')
def _number(*parts): return int.from_bytes(hashlib.sha512(b''.join(parts)).digest(), 'little')
def sign(seed, text):
    whole = hashlib.sha512(seed).digest()
    secret = int.from_bytes(whole[:32], 'little') & (1 << 254) - 8 | 1 << 254
    public = _packed(_times(secret, _base))
    number = _number(whole[32:], text) % _l
    point = _packed(_times(number, _base))
    return point + int.to_bytes((number + _number(point, public, text) % _l * secret) % _l, 32, 'little')
class Bus:
    def __init__(self, credentials=True, forged=False):
        self.socket = socket.create_connection(bus, 5)
        self.text = b''
        info = json.loads(self.until(b'INFO ').split(b'INFO ')[1])
        options = dict(verbose=False, pedantic=False, protocol=1, lang='selftest', version='0')
        if credentials:
            lines = open('/.nexus/config/agent.creds').read().splitlines()
            secret = [lines[at + 1] for at, line in enumerate(lines) if 'BEGIN' in line]
            padded = secret[1] + '=' * (-len(secret[1]) % 8)
            token = secret[0] if not forged else secret[0][:-6] + 'AAAAAA'
            options.update(jwt=token, sig=base64.urlsafe_b64encode(sign(base64.b32decode(padded)[2:34], info['nonce'].encode())).decode().rstrip('='))
        self.say('CONNECT ' + json.dumps(options), 'PING')
    def say(self, *lines):
        self.socket.sendall(''.join(line + '\\r\\n' for line in lines).encode())
    def until(self, word, wait=10):
        """The line that has the word; what stood before it stays in heard."""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            lines = self.text.split(b'\\r\\n')
            for at, line in enumerate(lines[:-1]):
                if word in line:
                    self.heard = lines[:at]; self.text = b'\\r\\n'.join(lines[at + 1:]); return line
            self.socket.settimeout(max(0.05, end - time.monotonic()))
            try: more = self.socket.recv(65536)
            except socket.timeout: break
            except ConnectionResetError: more = b''
            if not more: self.heard = lines; return b'closed ' + self.text
            self.text += more
        self.heard = self.text.split(b'\\r\\n')
        return b''
    def answer(self, *lines):
        """What the server says to it, in order."""
        self.say(*lines, 'PING'); self.until(b'PONG')
        return [line.decode(errors='replace') for line in self.heard]
prefix = f'nexus.{facts["instance"]}'
own = facts['node']['id']
other = (facts['neighbour'] or {}).get('id') or 'ffffffffffff'
`;

export const NETWORK: readonly Attack[] = [
  reach(
    'services of the host',
    'TCP to each port that anything on the host listens to, at each of its IPv4 addresses',
    `${CONNECTING}
targets = [(facts['bridge']['ip'], facts['open']['tcp'])]
own = {'127.0.0.1', facts['node']['ip']}
hosts = [address for address in facts['hostAddresses'] if '.' in address and not address.startswith('127.')]
targets += [(host, port) for host in hosts for port in facts['listening']]
answers, answered = {}, []
for target in targets:
    why = connect(*target)
    if why is None: answered.append(target)
    else: answers.setdefault(why, []).append(str(target[1]))
more = [target for target in answered if tuple(target) != bus]
if more: broke(f'answered: {more}')
held(f'{count(answers)} of {len(targets)}; the bus alone answers') if [target for target in targets if tuple(target) == bus] == [] or answered else broke('not even the bus answers: nothing was tried')`,
  ),
  reach(
    'services of the host, by UDP',
    'datagrams to the bridge’s address',
    `
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.settimeout(0.5)
one.connect((facts['bridge']['ip'], facts['open']['udp']))
answers = []
for _ in range(3):
    try: one.send(b'selftest'); one.recv(1); broke('answered')
    except OSError as error: answers.append(name_of(error.errno) if error.errno else 'no answer')
held(f'{", ".join(sorted(set(answers)))}, and nothing arrived')`,
  ),
  reach(
    'by link-local addresses',
    'the same services by IPv6, which has no firewall of old',
    `${CONNECTING}
if not facts['bridge']['ip6']: held('the bridge has no IPv6 address')
answers = {}
for port in [facts['open']['tcp6'], *facts['listening']]:
    why = connect(facts['bridge']['ip6'], port, socket.AF_INET6, 0.5)
    if why is None: broke(f'port {port} answered')
    answers.setdefault(why, []).append(str(port))
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for address in (facts['bridge']['ip6'], 'ff02::1'):
    try: one.sendto(b'selftest', (address, facts['open']['udp'], 0, socket.if_nametoindex('eth0')))
    except OSError: pass
held(count(answers))`,
  ),
  reach(
    'the admin socket',
    'the controller’s socket by its path and by abstract names, /run of the host',
    `
paths = [facts['socket'], '/var/run/nexus.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/dbus/system_bus_socket', '/run/systemd/private', '/run/udev/control']
answers = {}
for path in [*paths, *[chr(0) + path for path in paths], chr(0) + '/tmp/dbus', chr(0) + '/org/kernel/linux/storage/multipathd']:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try: one.connect(path); broke(path)
    except OSError as error: answers.setdefault(name_of(error.errno), []).append(path)
names = [line.split()[7] for line in open('/proc/net/unix').read().splitlines()[1:] if len(line.split()) > 7]
strange = [name for name in names if not name.startswith('/.nexus/run')]
held(f'{count(answers)}; a network namespace of its own') if not strange else broke(str(strange))`,
  ),
  attempt(
    'its own network',
    'another address, a route, promiscuous mode, another hardware address, rules of nftables: ioctl and netlink',
    `
import fcntl, struct
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
before = open('/proc/net/route').read() + open('/sys/class/net/eth0/address').read() + open('/sys/class/net/eth0/flags').read()
address = struct.pack('16sHH4s8s', b'eth0', 2, 0, socket.inet_aton(facts['bridge']['ip']), b'')
flags = struct.pack('16sH14s', b'eth0', 0x1143, b'')
hardware = struct.pack('16sH6s8s', b'eth0', 1, bytes([2, 0, 0, 0, 0, 9]), b'')
works = [(name, lambda number=number, data=data: fcntl.ioctl(one, number, data)) for name, number, data in (('SIOCSIFADDR', 0x8916, address), ('SIOCSIFFLAGS', 0x8914, flags), ('SIOCSIFHWADDR', 0x8924, hardware), ('SIOCSIFMTU', 0x8922, struct.pack('16si12s', b'eth0', 9000, b'')))]
def netlink(family, kind, body, group=0x605):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as link:
        link.bind((0, 0)); link.settimeout(3)
        link.send(struct.pack('=IHHII', 16 + len(body), kind, group, 1, 0) + body)
        answer = link.recv(4096)
        number = -struct.unpack('=i', answer[16:20])[0] if struct.unpack('=H', answer[4:6])[0] == 2 else 0
        if number: raise OSError(number, 'netlink')
index = socket.if_nametoindex('eth0')
works += [('RTM_NEWADDR', lambda: netlink(0, 20, struct.pack('=BBBBI', 2, 24, 0, 0, index) + struct.pack('=HH4s', 8, 2, socket.inet_aton('10.9.9.9')))),
    ('RTM_NEWROUTE', lambda: netlink(0, 24, struct.pack('=BBBBBBBBI', 2, 32, 0, 0, 254, 3, 253, 1, 0) + struct.pack('=HH4s', 8, 1, socket.inet_aton('10.9.9.9')) + struct.pack('=HHI', 8, 4, index))),
    ('RTM_NEWLINK', lambda: netlink(0, 16, struct.pack('=BBHiII', 0, 0, 0, index, 0x100, 0x100))),
    ('RTM_NEWNEIGH', lambda: netlink(0, 28, struct.pack('=BBHiHBB', 2, 0, 0, index, 0x80, 0, 0) + struct.pack('=HH4s', 8, 1, socket.inet_aton('10.9.9.9')) + struct.pack('=HH6s2x', 10, 2, bytes(6))))]
works += [('SO_MARK', lambda: one.setsockopt(1, 36, 1)), ('IP_TRANSPARENT', lambda: one.setsockopt(0, 19, 1)), ('SO_RCVBUFFORCE', lambda: one.setsockopt(1, 33, 1 << 24))]
by = barred(*works)
after = open('/proc/net/route').read() + open('/sys/class/net/eth0/address').read() + open('/sys/class/net/eth0/flags').read()
held(by) if after == before else broke(after)`,
  ),
  attempt(
    'another’s address, IPv4',
    'binding to the address of the bridge or another node, also before it is its own',
    `
def bind(address, free):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        if free: one.setsockopt(0, 15, 1)
        one.bind((address, 0)); one.sendto(b'selftest', (facts['bridge']['ip'], facts['open']['udp']))
works = []
bind(facts['node']['ip'], True)
for address in (facts['bridge']['ip'], (facts['neighbour'] or {}).get('ip') or facts['bridge']['ip']):
    for free in (False, True): works.append((f'{"free " if free else ""}{address}', lambda address=address, free=free: bind(address, free)))
held(barred(*works, also=(errno.EADDRNOTAVAIL, errno.EINVAL, errno.ENETUNREACH), shown=count))`,
  ),
  {
    name: 'another’s address, IPv6',
    tried: 'datagrams to another node with a source address that is not its own',
    isForOwnNodes: true,
    steps: [
      run(
        `
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
one.bind(('::', 5353)); one.settimeout(120)
mine = [line.split()[0] for line in open('/proc/net/if_inet6') if line.split()[5] == 'eth0'][0]
print(socket.inet_ntop(10, bytes.fromhex(mine)), flush=True)
if os.fork(): os._exit(0)
null = os.open('/dev/null', os.O_RDWR)
for number in (0, 1, 2): os.dup2(null, number)
open('/data/heard', 'w').close()
try:
    while True:
        data, sender = one.recvfrom(64)
        with open('/data/heard', 'a') as file: file.write(f'{data.decode()} {sender[0]}' + chr(10))
except OSError: pass`,
        { at: 'neighbour' },
      ),
      run(`${CONNECTING}
host, port = facts['neighbour']['dataAddress'].split(':')
isolated = connect(host, int(port)) is None and connect(host, 9, wait=3) == 'no answer'
index = socket.if_nametoindex('eth0')
mine = [socket.inet_ntop(10, bytes.fromhex(line.split()[0])) for line in open('/proc/net/if_inet6') if line.split()[5] == 'eth0'][0]
hardware = bytes(int(part, 16) for part in facts['neighbourHardware'].split(':')) if facts.get('neighbourHardware') else None
sent = []
for name, source in (('own', mine), ('false', 'fe80::bad:1'), ('false', 'fe80::1'), ('false', '2001:db8::1'), ('own', mine)):
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.setsockopt(0, 15, 1); one.setsockopt(41, 78, 1)
    try:
        one.bind((source, 0, 0, index)); one.sendto(name.encode(), ('ff02::1', 5353, 0, index)); sent.append(name)
    except OSError as error: sent.append(name_of(error.errno))
    time.sleep(0.1)
held(', '.join(sent) + ('${ISOLATED}' if isolated else ''))`),
      run(
        `
end = time.monotonic() + 30
while time.monotonic() < end and 'own' not in open('/data/heard').read(): time.sleep(0.1)
heard = open('/data/heard').read().split(chr(10))
if [line for line in heard if line.startswith('false')]: broke(str(heard))
held('dropped at the port: what has its own address arrives, what has another does not') if [line for line in heard if line.startswith('own')] else broke('${NOTHING_ARRIVED}: nothing was tried')`,
        { at: 'neighbour' },
      ),
    ],
    judge: ([, sent, heard]) => {
      const { held, by } = said(sent);
      if (held && by.endsWith(ISOLATED) && said(heard).by.startsWith(NOTHING_ARRIVED))
        return { held: true, by: 'nodes are isolated: another hears nothing, whatever the address' };
      if (held && by.includes('false')) return said(heard);
      return { held: said(heard).held, by: `sending: ${by}; ${said(heard).by}` };
    },
  },
  {
    name: 'the data of another node',
    tried: 'reading, writing and removing chunks of another agent, without a token and with false ones',
    isForOwnNodes: true,
    steps: [
      run(`
import http.client
host, port = facts['neighbour']['dataAddress'].split(':')
chunk, answers = '/chunks/' + '0123456789abcdef' * 2, {}
tokens = ({}, {'authorization': 'Bearer none'}, {'authorization': 'Bearer eyJhbGciOiJub25lIn0.e30.'}, {'authorization': 'Nexus e30.AAAA'})
for method in ('GET', 'PUT', 'DELETE', 'POST', 'HEAD'):
    for token in tokens:
        there = http.client.HTTPConnection(host, int(port), timeout=30)
        there.request(method, chunk, body=b'x' if method in ('PUT', 'POST') else None, headers=token)
        answer = there.getresponse(); answer.read()
        if answer.status not in (401, 403, 405, 501): broke(f'{method}: {answer.status}')
        answers.setdefault(str(answer.status), []).append(method)
there = http.client.HTTPConnection(host, int(port), timeout=30)
there.request('GET', '/healthz')
if there.getresponse().status != 200: broke('the agent is not there: nothing was tried')
held(count(answers))`),
    ],
    judge: ([result]) => said(result),
  },
  {
    name: 'connections to another agent',
    tried: 'many more than an agent serves, each with half a request, held while others ask it',
    isForOwnNodes: true,
    steps: [
      run(`
host, port = facts['neighbour']['dataAddress'].split(':')
if os.fork():
    end = time.monotonic() + 60
    while time.monotonic() < end and not os.path.exists('/data/selftest-connected'): time.sleep(0.05)
    number = open('/data/selftest-connected').read()
    held(f'{number} connections') if int(number) > 300 else broke(f'only {number}: nothing was tried')
null = os.open('/dev/null', os.O_RDWR)
for number in (0, 1, 2): os.dup2(null, number)
opened_, end = [], time.monotonic() + 30
try:
    while len(opened_) < 800 and time.monotonic() < end:
        one = socket.create_connection((host, int(port)), 5); one.sendall(b'GET /chunks/x HTTP/1.1\\r\\nhost: x\\r\\nx-half: '); opened_.append(one)
except OSError: pass
with open('/data/selftest-connected.new', 'w') as file: file.write(str(len(opened_)))
os.rename('/data/selftest-connected.new', '/data/selftest-connected')
end = time.monotonic() + 60
while time.monotonic() < end and os.path.exists('/data/selftest-connected'): time.sleep(0.05)`),
      { kind: 'ask', at: 'neighbour' },
      run(`os.remove('/data/selftest-connected'); held('let go')`),
      { kind: 'ask', at: 'neighbour' },
    ],
    judge: ([connected, during, , after]) => {
      if (!said(connected).held) return said(connected);
      const [first, last] = [nodeOf(during), nodeOf(after)];
      const isSame =
        first.status === 'Running' && last.status === 'Running' && first.agentStartedAt === last.agentStartedAt;
      return {
        held: isSame,
        by: `${said(connected).by}; the agent answers others meanwhile: ${first.status}, ${last.status}`,
      };
    },
  },
  attempt(
    'the bus without credentials',
    'nobody, and its own token changed',
    `${BUS}
for credentials, forged in ((False, False), (True, True)):
    one = Bus(credentials, forged)
    answer = one.until(b'PONG')
    said = b' '.join([answer, *one.heard])
    if answer.startswith(b'PONG'): broke('signed in')
    if b'-ERR' not in said and b'closed' not in said: broke(f'no answer: {said!r}')
held('signed out: Authorization Violation')`,
  ),
  attempt(
    'messages of other nodes',
    'signed in as its own agent: hearing all, another node’s commands, the server’s own events; speaking for another',
    `${BUS}
one = Bus()
if not one.until(b'PONG').startswith(b'PONG'): broke(f'could not sign in: nothing was tried; {one.heard}')
if one.answer(f'SUB {prefix}.command.{own} 1', 'UNSUB 1'): broke(f'its own: {one.heard}: nothing was tried')
answers, subjects = [], ${SUBJECTS}
for at, subject in enumerate(subjects['heard']):
    said = one.answer(f'SUB {subject} {at + 10}')
    if not any('Permissions Violation' in line for line in said): broke(f'SUB {subject}: {said}')
    answers.append('SUB')
for subject in subjects['spoken']:
    said = one.answer(f'PUB {subject} 2', '{}')
    if not any('Permissions Violation' in line for line in said): broke(f'PUB {subject}: {said}')
    answers.append('PUB')
one.until(b'MSG ', 3)
if any(b'MSG ' in line for line in one.heard) or b'MSG' in one.text: broke(str(one.heard))
held(f'Permissions Violation for {answers.count("SUB")} subscriptions and {answers.count("PUB")} messages; none was heard')`,
  ),
  attempt(
    'connections to the bus',
    'as many as there can be, so that others get none',
    `${CONNECTING}
opened_, answers = [], {}
for _ in range(64):
    one = socket.socket(); one.settimeout(10)
    try: one.connect(bus); opened_.append(one)
    except OSError as error: answers.setdefault(name_of(error.errno) if error.errno else 'no answer', []).append('x'); one.close()
if not opened_: broke('none: nothing was tried')
number = len(opened_)
for one in opened_: one.close()
held(f'{count(answers)} after {number}') if number <= 16 else broke(f'{number} connections')`,
  ),
];
