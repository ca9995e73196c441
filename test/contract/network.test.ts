/** What every network keeps: nodes reach host and each other, links are cut without complaint, nothing stays behind. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import type { NetworkFabric } from '../../controller/hosting/network.js';
import { runCommand } from '../../shared/exec.js';
import { KIB, MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';
import { codeOf } from '../support/codes.js';
import { BUS_PORT, NETWORKS, type OpenedNetwork } from '../support/networks.js';
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
      it('takes no more for the bus of one node than a bound, and as much as ever of others and for other ports', async () => {
        const flooder = await attach(0);
        const other = await attach(1);
        const flood = await bytesTaken(network.hostAddress, BUS_PORT, flooder.pid);
        expect(flood.bytes).to.be.greaterThan(0);
        // A burst, and twice what is allowed in the time that it took.
        expect(flood.bytes).to.be.lessThan(2 * MIB + 2 * 512 * KIB * flood.seconds);
        expect((await bytesTaken(network.hostAddress, BUS_PORT, other.pid, MIB)).bytes).to.equal(MIB);
        expect((await bytesTaken(network.hostAddress, BUS_PORT + 1, flooder.pid, 64 * MIB)).bytes).to.equal(64 * MIB);
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
