/** What every network keeps: nodes reach host and each other, links are cut without complaint, nothing stays behind. */
import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import type { NetworkFabric } from '../../controller/hosting/network.js';
import { runCommand } from '../../shared/exec.js';
import { KIB, MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';
import { codeOf } from '../support/codes.js';
import { BUS_PORT, DATA_PORT, NETWORKS, type OpenedNetwork } from '../support/networks.js';
import { skipWithoutSystem } from '../support/system.js';

/** Sends zeroes to a port for 3 s, or so many bytes. */
const SEND = `import socket,sys,time
host, port, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
link = socket.create_connection((host, port)); link.settimeout(3); end = time.monotonic() + 3; sent = 0
try:
  while sent < most and (most < 1 << 30 or time.monotonic() < end): sent += link.send(bytes(min(65536, most - sent)))
except TimeoutError: pass`;

/** Says how many of so many connections it can have at once. */
const CONNECT = `import socket,sys
links = []
try:
  for _ in range(int(sys.argv[3])): links.append(socket.create_connection((sys.argv[1], int(sys.argv[2])), 10))
except OSError: pass
print(len(links), end="")`;

/** Tries a service by TCP and UDP at each address. */
const TRY_ALL = `import json,socket,sys
port, found = int(sys.argv[1]), {}
for address in sys.argv[2:]:
  family, _, _, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
  try: socket.socket(family, socket.SOCK_DGRAM).sendto(b"datagram", target)
  except OSError: pass
  link = socket.socket(family); link.settimeout(5)
  try: link.connect(target); found[address] = "open"
  except OSError: found[address] = "closed"
print(json.dumps(found), end="")`;

/** Tries ways to another node, each as kind:address:port:source-port; a refusal is an answer. */
const TRY_WAYS = `import json,socket,sys
found = {}
for way in sys.argv[1:]:
  kind, address, port, source = way.split("/")
  is_tcp = kind == "tcp"
  family, type, _, _, target = socket.getaddrinfo(address, int(port), type=socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)[0]
  link = socket.socket(family, type); link.settimeout(3); link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  if source != "0": link.bind(("", int(source)))
  try:
    link.connect(target)
    if not is_tcp: link.send(b"x"); link.recv(1)
    found[way] = "answered"
  except ConnectionRefusedError: found[way] = "answered"
  except OSError: found[way] = "silent"
  link.close()
print(json.dumps(found), end="")`;

/** Counts what a listener at the host is sent by a node: `most` bytes, or without a bound on them for three seconds. */
async function bytesTaken(host: string, port: number, pid: number, most = 2 ** 40) {
  let bytes = 0;
  const began = performance.now();
  const server = createServer((socket) => {
    socket.on('data', (data) => (bytes += data.length)).on('error', () => undefined);
  }).listen(port, host);
  await once(server, 'listening');
  const ended = once(server, 'connection').then(([socket]) => once(socket as Socket, 'close'));
  const sender = ['python3', '-c', SEND, host, String(port), String(most)];
  await runCommand('nsenter', [`--net=/proc/${pid}/ns/net`, ...sender]);
  await ended;
  server.close();
  return { bytes, seconds: (performance.now() - began) / 1000 };
}

const never = new AbortController().signal;

for (const { name, needsRoot, hasLinks, open } of NETWORKS) {
  describe(`network, ${name}`, function () {
    this.timeout(180_000);
    let opened: OpenedNetwork;
    let network: NetworkFabric;

    before(function () {
      if (needsRoot) skipWithoutSystem(this);
    });
    beforeEach(async () => {
      opened = await open();
      network = opened.network;
      await network.prepare();
    });
    afterEach(async () => {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    });

    const attach = async (slot: number): Promise<{ ip: string; pid: number }> => {
      const ip = opened.subnet.addressOf(slot);
      const pid = await opened.newNode();
      await network.attach({ slot, ip, pid }, never);
      return { ip, pid };
    };
    const listed = (slots: readonly number[]): readonly number[] => (hasLinks ? slots : []);
    const list = async (): Promise<number[]> => [...(await network.list())].sort((one, other) => one - other);

    it('has the host at the first address of its subnet', () => {
      expect(network.hostAddress).to.equal(opened.subnet.hostAddress);
    });

    it('may be prepared again, with nodes on it', async () => {
      const { ip } = await attach(0);
      await network.prepare();
      expect(await opened.reaches(ip)).to.equal(true);
      expect(await list()).to.deep.equal(listed([0]));
    });

    it('joins host and nodes, and nodes with each other', async () => {
      const one = await attach(0);
      const other = await attach(1);
      expect(await opened.reaches(one.ip), 'host to node').to.equal(true);
      expect(await opened.reachesFrom(one.pid, network.hostAddress), 'node to host').to.equal(true);
      expect(await opened.reachesFrom(one.pid, other.ip), 'node to node').to.equal(true);
      expect(await list()).to.deep.equal(listed([0, 1]));
    });

    it('attaches several nodes at once', async () => {
      const nodes = await Promise.all([0, 1, 2, 3, 4].map(attach));
      expect(await list()).to.deep.equal(listed([0, 1, 2, 3, 4]));
      for (const { ip } of nodes) expect(await opened.reaches(ip), ip).to.equal(true);
    });

    it('finds nothing wrong with what is whole', async () => {
      await attach(0);
      expect(await network.inspect(hasLinks ? [0] : [])).to.deep.equal({ problem: undefined, loose: [] });
    });

    it('finds what its nodes share broken, and restores it with the nodes on it', async () => {
      const { ip, pid } = await attach(0);
      const other = await attach(1);
      for (const ruin of opened.ruin) {
        await ruin();
        expect((await network.inspect([0, 1])).problem).to.be.a('string');
        await network.prepare();
        const { problem, loose } = await network.inspect([0, 1]);
        expect(problem).to.equal(undefined);
        for (const slot of loose) await network.relink({ slot, ...(slot === 0 ? { ip, pid } : other) }, never);
        expect(await opened.reaches(ip), 'host to node').to.equal(true);
        expect(await opened.reachesFrom(pid, other.ip), 'node to node').to.equal(true);
      }
    });

    it('finds a node that was cut off, and joins it again', async () => {
      const { ip, pid } = await attach(0);
      const other = await attach(1);
      for (const cut of opened.cut) {
        await cut(0);
        // A link is not judged by one look: one that is just being made does not forward yet.
        await eventually(
          async () => (await network.inspect([0, 1])).loose,
          (loose) => loose.length === 1 && loose[0] === 0,
        );
        await network.relink({ slot: 0, ip, pid }, never);
        await eventually(
          async () => (await network.inspect([0, 1])).loose,
          (loose) => loose.length === 0,
        );
        expect(await opened.reaches(ip), 'host to node').to.equal(true);
        expect(await opened.reachesFrom(pid, other.ip), 'node to node').to.equal(true);
      }
    });

    it('cuts one link and no other', async () => {
      const one = await attach(0);
      const other = await attach(1);
      await network.detach(0);
      expect(await list()).to.deep.equal(listed([1]));
      expect(await opened.reaches(other.ip)).to.equal(true);
      if (hasLinks) expect(await opened.reachesFrom(one.pid, network.hostAddress)).to.equal(false);
    });

    it('cuts a link twice, and one that never was', async () => {
      await attach(0);
      await network.detach(0);
      await network.detach(0);
      await network.detach(7);
      expect(await list()).to.deep.equal([]);
    });

    it('gives a slot anew after it was cut', async () => {
      await attach(0);
      await network.detach(0);
      const { ip, pid } = await attach(0);
      expect(await opened.reaches(ip)).to.equal(true);
      expect(await opened.reachesFrom(pid, network.hostAddress)).to.equal(true);
    });

    if (hasLinks) {
      it('is as before after an attempt that failed', async () => {
        const { ip } = await attach(0);
        // The slot is taken: what exists stays whole, and the second node gets nothing.
        const pid = await opened.newNode();
        expect(await codeOf(() => network.attach({ slot: 0, ip, pid }, never))).to.equal('failed_precondition');
        expect(await opened.reaches(ip)).to.equal(true);
        const late = { slot: 1, ip: opened.subnet.addressOf(1), pid };
        expect(await codeOf(() => network.attach(late, AbortSignal.abort()))).to.equal('cancelled');
        await network.detach(1);
        expect(await list()).to.deep.equal([0]);
      });

      it('refuses addresses that something else has', async () => {
        expect(await codeOf(() => opened.rival.prepare())).to.equal('failed_precondition');
      });
    }

    if (needsRoot) {
      it('takes no more for the bus of one node than a bound, and as much as ever of others', async () => {
        const flooder = await attach(0);
        const other = await attach(1);
        const flood = await bytesTaken(network.hostAddress, BUS_PORT, flooder.pid);
        expect(flood.bytes).to.be.greaterThan(0);
        // A burst, and twice what is allowed in the time that it took.
        expect(flood.bytes).to.be.lessThan(2 * MIB + 2 * 512 * KIB * flood.seconds);
        expect((await bytesTaken(network.hostAddress, BUS_PORT, other.pid, MIB)).bytes).to.equal(MIB);
      });
    }

    if (needsRoot) {
      it('lets one node have a few connections to the bus, and others theirs', async () => {
        const greedy = await attach(0);
        const other = await attach(1);
        const server = createServer().listen(BUS_PORT, network.hostAddress);
        const connect = (pid: number, count: number) =>
          runCommand('nsenter', [
            `--net=/proc/${pid}/ns/net`,
            ...['python3', '-c', CONNECT, network.hostAddress, String(BUS_PORT), String(count)],
          ]);
        try {
          expect((await connect(greedy.pid, 100)).stdout).to.equal('16');
          expect((await connect(other.pid, 10)).stdout).to.equal('10');
        } finally {
          server.close();
        }
      });
    }

    if (needsRoot) {
      const inNode = (pid: number, code: string, ...args: string[]) =>
        runCommand('nsenter', [`--net=/proc/${pid}/ns/net`, 'python3', '-c', code, ...args]);
      const ip = (pid: number, ...args: string[]) =>
        runCommand('nsenter', [`--net=/proc/${pid}/ns/net`, 'ip', ...args]);

      it('keeps a node from every service of the host but the bus, by any family of addresses', async () => {
        const one = await attach(0);
        const other = await attach(1);
        const link = `nx-${opened.instance}`;
        const addresses = Object.values(networkInterfaces()).flatMap((all = []) => all);
        const ofBridge = networkInterfaces()[link]?.find(({ address }) => address.startsWith('fe80:'))?.address;
        expect(ofBridge, 'the host has IPv6').to.be.a('string');
        const service = createServer((socket) => socket.on('error', () => undefined).end('in')).listen(0, '::');
        await once(service, 'listening');
        const { port } = service.address() as AddressInfo;
        const datagrams: string[] = [];
        const udp = createSocket('udp6', (data) => datagrams.push(data.toString()));
        udp.bind(port, '::');
        await once(udp, 'listening');
        try {
          const targets = addresses.filter(({ family, internal }) => family === 'IPv4' && !internal);
          const tried = [...targets.map(({ address }) => address), `${ofBridge ?? ''}%eth0`];
          expect(tried).to.include(network.hostAddress);
          const { stdout } = await inNode(one.pid, TRY_ALL, String(port), ...tried);
          expect(JSON.parse(stdout)).to.deep.equal(Object.fromEntries(tried.map((address) => [address, 'closed'])));
          // The same from the host itself, so that the service is known to answer.
          const { stdout: own } = await runCommand('python3', ['-c', TRY_ALL, String(port), network.hostAddress]);
          expect(JSON.parse(own)).to.deep.equal({ [network.hostAddress]: 'open' });
          expect(datagrams, 'from the host alone').to.deep.equal(['datagram']);
          expect(await opened.reachesFrom(one.pid, other.ip), 'node to node').to.equal(true);
        } finally {
          service.close();
          udp.close();
        }
      });

      it('keeps the bus from whoever is beside its nodes, and routes to this host', async () => {
        const outside = await opened.newNode();
        const end = `${opened.instance}-out`;
        await runCommand('ip', ['link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(outside)]);
        await runCommand('ip', ['address', 'add', '198.51.100.1/30', 'dev', end]);
        await runCommand('ip', ['link', 'set', end, 'up']);
        await ip(outside, 'address', 'add', '198.51.100.2/30', 'dev', 'eth0');
        await ip(outside, 'link', 'set', 'eth0', 'up');
        await ip(outside, 'route', 'add', 'default', 'via', '198.51.100.1');
        const tried = ['198.51.100.1', network.hostAddress];
        // At each address by itself: buses of other instances have this port too.
        const buses = tried.map((address) =>
          createServer((socket) => socket.on('error', () => undefined).end('in')).listen(BUS_PORT, address),
        );
        try {
          await Promise.all(buses.map((bus) => once(bus, 'listening')));
          const { stdout } = await inNode(outside, TRY_ALL, String(BUS_PORT), ...tried);
          expect(JSON.parse(stdout)).to.deep.equal({ '198.51.100.1': 'open', [network.hostAddress]: 'closed' });
          const inside = await attach(0);
          const { stdout: own } = await inNode(inside.pid, TRY_ALL, String(BUS_PORT), network.hostAddress);
          expect(JSON.parse(own)).to.deep.equal({ [network.hostAddress]: 'open' });
        } finally {
          for (const bus of buses) bus.close();
        }
      });

      it('finds a closed port among more than it looks at each time', async () => {
        const slots = Array.from({ length: 70 }, (_, slot) => slot);
        const link = (slot: number): string => `nx-${opened.instance}-${slot}`;
        const lines = slots.flatMap((slot) => [
          `link add name ${link(slot)} type veth peer name p${link(slot).slice(1)}`,
          `link set dev p${link(slot).slice(1)} up`,
          `link set dev ${link(slot)} master nx-${opened.instance} up`,
        ]);
        await runCommand('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n`, failure: 'no links' });
        const looks = async (): Promise<Set<number>> => {
          const found = new Set<number>();
          for (let look = 0; look < 8; look += 1) {
            for (const slot of (await network.inspect(slots)).loose) found.add(slot);
          }
          return found;
        };
        await eventually(looks, (found) => found.size === 0);
        for (const slot of [3, 69]) await runCommand('ip', ['link', 'set', 'dev', link(slot), 'down']);
        expect(await looks()).to.deep.equal(new Set([3, 69]));
      });

      it('has host and node know each other for good, whatever else fills the table of neighbours', async () => {
        const { ip: address, pid } = await attach(0);
        const neighbour = /^(\S+) dev (\S+) lladdr (\S+) PERMANENT/;
        const ofHost = await runCommand('ip', ['neigh', 'show', address], { failure: 'no neighbours' });
        const hardware = (
          await runCommand('nsenter', [`--net=/proc/${pid}/ns/net`, 'ip', '-brief', 'link', 'show', 'eth0'], {
            failure: 'no link',
          })
        ).stdout.split(/\s+/)[2];
        expect(neighbour.exec(ofHost.stdout)?.slice(1)).to.deep.equal([address, `nx-${opened.instance}`, hardware]);
        const ofNode = await runCommand(
          'nsenter',
          [`--net=/proc/${pid}/ns/net`, 'ip', 'neigh', 'show', network.hostAddress],
          { failure: 'no neighbours' },
        );
        const bridge = readFileSync(`/sys/class/net/nx-${opened.instance}/address`, 'utf8').trim();
        expect(neighbour.exec(ofNode.stdout)?.slice(1)).to.deep.equal([network.hostAddress, 'eth0', bridge]);
        await network.detach(0);
        const again = await attach(0);
        expect(await opened.reaches(again.ip), 'in the same place again').to.equal(true);
      });

      it('lets nodes that are isolated reach each other by the data port alone, and the host as ever', async () => {
        const one = await attach(0);
        const other = await attach(1);
        const { stdout: shown } = await ip(other.pid, '-6', '-json', 'address', 'show', 'dev', 'eth0');
        const linkLocal = (JSON.parse(shown) as [{ addr_info: [{ local: string }] }])[0].addr_info[0].local;
        const data = `tcp/${other.ip}/${DATA_PORT}/0`;
        const closed = [
          `tcp/${other.ip}/9/0`,
          `tcp/${other.ip}/9/${DATA_PORT}`,
          `udp/${other.ip}/9/0`,
          `udp/${other.ip}/${DATA_PORT}/0`,
          `tcp/${linkLocal}%eth0/${DATA_PORT}/0`,
        ];
        const found = async (): Promise<unknown> =>
          JSON.parse((await inNode(one.pid, TRY_WAYS, data, ...closed)).stdout) as unknown;
        const all = (state: string): object => Object.fromEntries(closed.map((way) => [way, state]));
        // Addresses of IPv6 are tried for a second or two before they are used.
        const isOpen = { [data]: 'answered', ...all('answered') };
        await eventually(found, (seen) => isDeepStrictEqual(seen, isOpen));
        await opened.isolated?.prepare();
        expect(await found(), 'isolated').to.deep.equal({ [data]: 'answered', ...all('silent') });
        expect(await opened.reaches(other.ip), 'host to node').to.equal(true);
        expect(await opened.reachesFrom(one.pid, network.hostAddress), 'node to host').to.equal(true);
        expect(await network.inspect([0, 1])).to.deep.equal({ problem: undefined, loose: [] });
        await network.prepare();
        expect(await found(), 'no longer').to.deep.equal(isOpen);
      });

      it('carries for a node nothing that has the addresses of another', async () => {
        const one = await attach(0);
        const other = await attach(1);
        const third = await attach(2);
        const reached = (): Promise<boolean> => opened.reachesFrom(one.pid, third.ip);
        expect(await reached()).to.equal(true);
        const length = String(opened.subnet.prefixLength);
        await ip(one.pid, 'address', 'flush', 'dev', 'eth0');
        await ip(one.pid, 'address', 'add', `${other.ip}/${length}`, 'dev', 'eth0');
        expect(await reached(), 'as another address').to.equal(false);
        await ip(one.pid, 'address', 'flush', 'dev', 'eth0');
        await ip(one.pid, 'address', 'add', `${one.ip}/${length}`, 'dev', 'eth0');
        expect(await reached(), 'as itself').to.equal(true);
        await ip(one.pid, 'link', 'set', 'dev', 'eth0', 'address', '02:00:00:00:00:07');
        expect(await reached(), 'as another interface').to.equal(false);
        expect(await opened.reachesFrom(other.pid, third.ip), 'the others').to.equal(true);
      });
    }

    it('leaves nothing when it is disposed of, even twice, and can be prepared anew', async () => {
      await attach(0);
      await attach(1);
      await network.destroy();
      expect(await list()).to.deep.equal([]);
      await network.destroy();
      await network.prepare();
      const { ip } = await attach(0);
      expect(await opened.reaches(ip)).to.equal(true);
    });
  });
}
