/** Repair, inventory, scrub, drain and rebalance on fakes: what they do, and what they leave alone. */
import { expect } from 'chai';
import type { RebalanceProgress } from '../../controller/repair/rebalance.js';
import { newChunkId, type ChunkId, type FileId, type NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, GIB } from '../../shared/limits.js';
import { codeOf, errorOf } from '../support/codes.js';
import { FileBench } from '../support/files.js';

const signal = new AbortController().signal;
/** As FileBench makes it. */
const LAST_CHUNK_BYTES = 5;
const quietly = (): Promise<void> => Promise.resolve();

describe('the upkeep of files', () => {
  let bench: FileBench;

  beforeEach(() => {
    bench = new FileBench(4);
  });

  const tick = async (): Promise<void> => {
    bench.upkeep.repair.wake();
    await bench.upkeep.repair.tick(signal);
  };
  const copies = async (file: FileId, state = 'ready'): Promise<NodeId[][]> => {
    const chunks = await bench.store.files.chunks(file, { from: 0, count: 100 });
    return chunks.map((chunk) => chunk.replicas.filter((copy) => copy.state === state).map((copy) => copy.nodeId));
  };
  const firstChunk = async (file: FileId): Promise<ChunkId> =>
    (await bench.store.files.chunks(file, { from: 0, count: 1 }))[0]!.id;
  const events = async (): Promise<string[]> => (await bench.store.events.list(0)).map((event) => event.type);

  describe('repair', () => {
    it('copies what a lost node held, and trims what is too many when it is back', async () => {
      const file = await bench.storeFile(6, 2);
      bench.nodes.takeDown(bench.id(0));
      await tick();
      const alive = (await copies(file.id)).map((nodes) => nodes.filter((id) => id !== bench.id(0)));
      for (const nodes of alive) expect(nodes).to.have.length(2);
      expect(await events()).to.include.members(['repair.started']);
      await tick();
      expect(await events()).to.include('repair.finished');
      expect(bench.upkeep.repair.status()).to.deep.include({ lackingChunks: 0, blocked: [] });
      bench.nodes.change(bench.id(0), { standing: 'here', readable: true, schedulable: true });
      await tick();
      for (const nodes of await copies(file.id)) expect(nodes).to.have.length(2);
    });

    it('says why it cannot, and goes on when it can', async () => {
      bench = new FileBench(2);
      const file = await bench.storeFile(1, 2);
      bench.nodes.takeDown(bench.id(1));
      await tick();
      expect(bench.upkeep.repair.status()).to.deep.include({ lackingChunks: 1, endangeredChunks: 1 });
      expect(bench.upkeep.repair.status().blocked[0]).to.match(/add, start or uncordon one/);
      bench.nodes.change(bench.id(1), { standing: 'here', readable: true, schedulable: true });
      await tick();
      expect(bench.upkeep.repair.status().lackingChunks).to.equal(0);
      expect((await copies(file.id))[0]).to.have.length(2);
    });

    it('copies nothing of what was stopped on purpose, and tells what cannot be read meanwhile', async () => {
      bench = new FileBench(2);
      const file = await bench.storeFile(3, 1);
      bench.nodes.change(bench.id(0), { readable: false, schedulable: false });
      const there = (await copies(file.id)).filter(([holder]) => holder === bench.id(0)).length;
      expect(there).to.be.greaterThan(0);
      await tick();
      const stopped = { lackingChunks: 0, lostChunks: there, lostFiles: [file.id], lostOn: [bench.id(0)] };
      expect(bench.upkeep.repair.status()).to.deep.include(stopped);
      expect(await events())
        .to.include('repair.blocked')
        .and.not.include('repair.started');
      bench.nodes.change(bench.id(0), { readable: true, schedulable: true });
      bench.upkeep.wake();
      await tick();
      expect(bench.upkeep.repair.status()).to.deep.include({ lostChunks: 0, lostFiles: [], lostOn: [] });
    });

    it('counts the files that are in trouble, and tells owners once of what is damaged or lost', async () => {
      bench = new FileBench(2);
      const [file, other] = [await bench.storeFile(2, 1), await bench.storeFile(1, 1)];
      await tick();
      const [chunk] = await bench.store.files.chunks(other.id, { from: 0, count: 1 });
      await bench.store.replicas.markBad({ chunkId: chunk!.id, nodeId: chunk!.replicas[0]!.nodeId }, 'corrupt');
      for (const { nodeId } of (await bench.store.files.chunks(file.id, { from: 0, count: 1 }))[0]!.replicas)
        await bench.store.replicas.markBad({ chunkId: await firstChunk(file.id), nodeId }, 'missing');
      await tick();
      await tick();
      expect(bench.upkeep.repair.status().filesInTrouble).to.deep.equal({ unavailable: 0, damaged: 1, lost: 1 });
      expect(bench.upkeep.repair.status().lostFiles).to.deep.equal([file.id, other.id]);
      const told = (await bench.store.events.list(0)).filter(({ type }) => /^file\.(lost|damaged)$/.test(type));
      expect(told.map(({ type, subject, owner }) => [type, subject, owner])).to.have.deep.members([
        ['file.lost', file.id, file.owner],
        ['file.damaged', other.id, other.owner],
      ]);
    });

    it('gives a copy up that fails, keeps nothing of it, and asks another node', async () => {
      const file = await bench.storeFile(1, 2);
      const [holders] = await copies(file.id);
      const [spare, other] = [0, 1, 2, 3].map((slot) => bench.id(slot)).filter((id) => !holders!.includes(id));
      bench.nodes.change(spare!, { freeBytes: 2 * GIB });
      bench.nodes.silent.add(spare!);
      bench.nodes.takeDown(holders![0]!);
      await tick();
      expect((await copies(file.id, 'deleting'))[0]).to.deep.equal([spare]);
      await tick();
      expect((await copies(file.id))[0]).to.include(other);
    });

    it('gives up what an earlier controller had begun', async () => {
      const file = await bench.storeFile(1, 1);
      const [[holder]] = (await copies(file.id)) as [[NodeId]];
      const target = [0, 1].map((slot) => bench.id(slot)).find((id) => id !== holder)!;
      await bench.store.replicas.begin({ chunkId: await firstChunk(file.id), nodeId: target }, 'before');
      await tick();
      expect((await copies(file.id, 'writing'))[0]).to.deep.equal([]);
      expect((await copies(file.id, 'deleting'))[0]).to.deep.equal([target]);
    });

    it('does not touch uploads that are not committed', async () => {
      const id = await bench.open(2);
      await bench.grant(id, 2);
      bench.nodes.takeDown(bench.id(0));
      await tick();
      const states = (await bench.store.files.uploadChunks(id)).flatMap((chunk) => chunk.replicas.map((c) => c.state));
      expect(new Set(states)).to.deep.equal(new Set(['writing']));
    });
  });

  describe('a damaged copy', () => {
    it('that a reader reports is checked by its own node, told, dropped and replaced', async () => {
      const file = await bench.storeFile(1, 2);
      const chunk = await firstChunk(file.id);
      const [holders] = await copies(file.id);
      bench.nodes.damage.set(`${chunk}@${holders![0]!}`, 'corrupt');
      bench.upkeep.suspicions.raise(chunk, holders![0]!);
      await bench.upkeep.suspicions.settled();
      expect(await events()).to.include('replica.corrupt');
      await tick();
      await tick();
      expect((await copies(file.id, 'deleting'))[0]).to.deep.equal([holders![0]]);
      expect((await copies(file.id))[0]).to.have.length(2);
    });

    it('with a sidecar that cannot be read is found by the inventory, which goes on to the end', async () => {
      const files = [await bench.storeFile(1, 2), await bench.storeFile(1, 2), await bench.storeFile(1, 2)];
      const chunk = await firstChunk(files[1]!.id);
      const [holders] = await copies(files[1]!.id);
      const held = await bench.store.replicas.readyOn(holders![0]!, { after: '', limit: 100 });
      bench.nodes.held.set(
        holders![0]!,
        held.map(({ id }) => id),
      );
      bench.nodes.sidecars.add(`${chunk}@${holders![0]!}`);
      bench.nodes.damage.set(`${chunk}@${holders![0]!}`, 'corrupt');
      await bench.upkeep.inventory.compare(holders![0]!, new AbortController().signal);
      await bench.upkeep.suspicions.settled();
      expect((await events()).filter((type) => type.startsWith('replica.'))).to.deep.equal(['replica.corrupt']);
      expect((await copies(files[1]!.id, 'corrupt'))[0]).to.deep.equal([holders![0]]);
    });

    it('that is whole after all stays: whoever reports is not believed', async () => {
      const file = await bench.storeFile(1, 2);
      const [holders] = await copies(file.id);
      bench.upkeep.suspicions.raise(await firstChunk(file.id), holders![0]!);
      await bench.upkeep.suspicions.settled();
      expect((await copies(file.id))[0]).to.deep.equal(holders);
      expect(await events()).not.to.include('replica.corrupt');
    });

    it('that is the only one is kept, and reading names file, chunk and node', async () => {
      const file = await bench.storeFile(1, 1);
      const chunk = await firstChunk(file.id);
      const [[holder]] = (await copies(file.id)) as [[NodeId]];
      bench.nodes.damage.set(`${chunk}@${holder}`, 'corrupt');
      bench.upkeep.suspicions.raise(chunk, holder);
      await bench.upkeep.suspicions.settled();
      await tick();
      expect((await copies(file.id, 'corrupt'))[0]).to.deep.equal([holder]);
      const error = await errorOf(() => bench.files.catalogue.sources(file.id, 0, 1));
      expect(error.code).to.equal('data_loss');
      expect(error.message).to.include(file.id).and.include(chunk).and.include(bench.nodes.find(holder)!.name);
    });

    it('met as a source is reported by whoever copied', async () => {
      const file = await bench.storeFile(1, 3);
      const chunk = await firstChunk(file.id);
      const [holders] = await copies(file.id);
      bench.nodes.damage.set(`${chunk}@${holders![0]!}`, 'corrupt');
      bench.nodes.takeDown(holders![2]!);
      await tick();
      await bench.upkeep.suspicions.settled();
      expect(await events()).to.include('replica.corrupt');
    });
  });

  describe('scrub', () => {
    it('reads what is thought bad again: bad still, or whole and then repaired from', async () => {
      const file = await bench.storeFile(1, 1);
      const chunkId = await firstChunk(file.id);
      const [[holder]] = (await copies(file.id)) as [[NodeId]];
      const badFound = async (): Promise<number> => {
        const found: number[] = [];
        const tell = (progress: { bad: number; isFinished: boolean }): Promise<void> => {
          if (progress.isFinished) found.push(progress.bad);
          return Promise.resolve();
        };
        await bench.upkeep.scrub.run({ node: holder, rate: 0, signal, tell });
        return found[0] ?? NaN;
      };
      bench.nodes.damage.set(`${chunkId}@${holder}`, 'corrupt');
      expect(await badFound()).to.equal(1);
      expect(await badFound(), 'the second time').to.equal(1);
      expect((await copies(file.id, 'corrupt'))[0]).to.deep.equal([holder]);
      bench.nodes.damage.clear();
      expect(await badFound()).to.equal(0);
      expect((await copies(file.id))[0]).to.deep.equal([holder]);
      expect(await events()).to.include('replica.restored');
    });

    it('finds damage, and remembers over a restart when it was done', async () => {
      const file = await bench.storeFile(3, 2);
      const chunk = await firstChunk(file.id);
      const [holders] = await copies(file.id);
      bench.nodes.damage.set(`${chunk}@${holders![1]!}`, 'corrupt');
      const bad = new Map<string, number>();
      const tell = ({ node, bad: count }: { node: string; bad: number }): Promise<void> => {
        bad.set(node, count);
        return Promise.resolve();
      };
      await bench.upkeep.scrub.run({ node: undefined, rate: 0, signal, tell });
      expect([...bad.values()].reduce((sum, count) => sum + count, 0)).to.equal(1);
      expect(await bench.store.marks.get(`scrubbed/${bench.id(0)}`)).to.equal(bench.nowMs);
      expect((await copies(file.id, 'corrupt'))[0]).to.deep.equal([holders![1]]);
    });

    it('is due after its interval, not before', async () => {
      await bench.upkeep.scrub.tick(signal);
      bench.nowMs += 3_599_000;
      await bench.upkeep.scrub.tick(signal);
      expect(await events()).not.to.include('scrub.finished');
      bench.nowMs += 2000;
      await bench.upkeep.scrub.tick(signal);
      expect((await events()).filter((type) => type === 'scrub.finished')).to.have.length(4);
    });

    it('refuses a second one of the same node, and one without a node', async () => {
      const order = { node: bench.id(0), rate: 0, signal, tell: quietly };
      const results = await Promise.all([
        codeOf(() => bench.upkeep.scrub.run(order)),
        codeOf(() => bench.upkeep.scrub.run(order)),
      ]);
      expect(results).to.include('failed_precondition');
      expect(await codeOf(() => bench.upkeep.scrub.run({ ...order, node: 'f'.repeat(12) as NodeId }))).to.equal(
        'failed_precondition',
      );
    });
  });

  describe('the inventory', () => {
    it('marks what a volume lost as missing', async () => {
      const file = await bench.storeFile(2, 2);
      const chunks = await bench.store.files.chunks(file.id, { from: 0, count: 2 });
      for (const slot of [0, 1, 2, 3]) {
        const held = chunks.filter((chunk) => chunk.replicas.some((copy) => copy.nodeId === bench.id(slot)));
        bench.nodes.held.set(
          bench.id(slot),
          held.map((chunk) => chunk.id),
        );
      }
      const [holders] = await copies(file.id);
      bench.nodes.held.set(holders![0]!, []);
      for (const chunk of chunks) bench.nodes.damage.set(`${chunk.id}@${holders![0]!}`, 'missing');
      await bench.upkeep.inventory.tick(signal);
      expect((await copies(file.id, 'missing'))[0]).to.deep.equal([holders![0]]);
      expect(await events()).to.include('replica.missing');
    });

    it('removes what nobody knows, after the grace and not before', async () => {
      const orphan = newChunkId();
      bench.nodes.held.set(bench.id(0), [orphan]);
      await bench.upkeep.inventory.tick(signal);
      expect(bench.upkeep.inventory.orphans).to.equal(1);
      bench.nowMs += 4000;
      await bench.upkeep.inventory.tick(signal);
      expect(bench.nodes.deletions).to.deep.equal([]);
      bench.nowMs += 4000;
      await bench.upkeep.inventory.tick(signal);
      expect(bench.nodes.deletions).to.deep.equal([{ node: bench.id(0), chunkIds: [orphan] }]);
      expect(bench.upkeep.inventory.orphans).to.equal(0);
    });

    it('leaves chunks of running uploads and doomed ones alone', async () => {
      bench = new FileBench(1);
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      bench.nodes.held.set(bench.id(0), [grant!.chunkId]);
      await bench.upkeep.inventory.tick(signal);
      await bench.files.abort(id);
      bench.nowMs += 2000;
      await bench.upkeep.inventory.tick(signal);
      expect(bench.upkeep.inventory.orphans).to.equal(0);
    });

    it('tries a node again that did not answer', async () => {
      bench.nodes.silent.add(bench.id(0));
      bench.nodes.held.set(bench.id(0), [newChunkId()]);
      await bench.upkeep.inventory.tick(signal);
      expect(bench.upkeep.inventory.orphans).to.equal(0);
      bench.nodes.silent.clear();
      bench.nowMs += 11_000;
      await bench.upkeep.inventory.tick(signal);
      expect(bench.upkeep.inventory.orphans).to.equal(1);
    });
  });

  describe('a drain', () => {
    it('moves everything off, and redundancy never falls', async () => {
      const file = await bench.storeFile(6, 2);
      bench.nodes.change(bench.id(0), { standing: 'leaving', schedulable: false });
      const before = await bench.store.replicas.countOn(bench.id(0));
      expect(before.chunks).to.equal(3);
      await tick();
      for (const nodes of await copies(file.id)) {
        expect(nodes).to.have.length(2);
        expect(nodes).not.to.include(bench.id(0));
      }
    });

    it('says that it cannot go on, and why', async () => {
      bench = new FileBench(2);
      await bench.storeFile(2, 2);
      bench.nodes.change(bench.id(0), { standing: 'leaving', schedulable: false });
      const looking = errorOf(() => bench.upkeep.followDrain(bench.id(0), signal, quietly));
      const surveys = setInterval(() => void tick(), 50);
      const error = await looking.finally(() => {
        clearInterval(surveys);
      });
      expect(error.code).to.equal('failed_precondition');
      expect(error.message).to.match(/2 chunk\(s\) cannot be moved.*add, start or uncordon one/);
    });
  });

  it('a rebalance moves chunks to an empty node without a copy too few', async () => {
    bench = new FileBench(3);
    const [first, second, empty] = [bench.id(0), bench.id(1), bench.id(2)];
    bench.nodes.change(empty, { schedulable: false });
    const file = await bench.storeFile(9, 2);
    bench.nodes.change(empty, { schedulable: true });
    const told: RebalanceProgress[] = [];
    await bench.upkeep.rebalance.run(signal, (progress) => {
      told.push(progress);
      return Promise.resolve();
    });
    expect(told.at(-1)?.isFinished).to.equal(true);
    for (const nodes of await copies(file.id)) expect(nodes).to.have.length(2);
    const counts = await Promise.all(
      [first, second, empty].map(async (id) => (await bench.store.replicas.countOn(id)).bytes),
    );
    expect(Math.max(...counts) - Math.min(...counts)).to.be.at.most(CHUNK_SIZE_BYTES + LAST_CHUNK_BYTES);
  });
});
