/** What a chunk needs and where copies go: properties over random clusters, and each rule by itself. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { StorageNode } from '../../controller/file/nodes.js';
import { NODE_RESERVE_BYTES } from '../../controller/file/plan.js';
import { nextShift, type Load } from '../../controller/repair/balance.js';
import { byUrgency, judge, planCopies, type NodesById } from '../../controller/repair/redundancy.js';
import type { ReplicaState } from '../../controller/store/port/store.js';
import type { StoredChunk } from '../../controller/store/port/replicas.js';
import type { ChunkId, FileId, NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, GIB } from '../../shared/limits.js';
import { nodeId } from '../support/records.js';

const node = (number: number, change: Partial<StorageNode> = {}): StorageNode => ({
  id: nodeId(number),
  name: `n${number}`,
  address: '',
  schedulable: true,
  readable: true,
  writable: true,
  standing: 'here',
  capacityBytes: 2 * GIB,
  freeBytes: GIB,
  freeInodes: Infinity,
  reportedAt: 0,
  receiptKey: undefined,
  ...change,
});
const nodesOf = (...nodes: StorageNode[]): NodesById => new Map(nodes.map((each) => [each.id, each]));
const chunk = (wanted: number, copies: Readonly<Record<number, ReplicaState>>, id = 1): StoredChunk => ({
  id: id.toString(16).padStart(32, '0') as ChunkId,
  fileId: '0'.repeat(16) as FileId,
  index: 0,
  size: CHUNK_SIZE_BYTES,
  md5: 'a'.repeat(32),
  wanted,
  replicas: Object.entries(copies).map(([number, state]) => ({ nodeId: nodeId(Number(number)), state })),
});
const never = (): boolean => false;

describe('the judgement of a chunk', () => {
  it('counts copies on nodes that stay, those that stand still too', () => {
    const nodes = nodesOf(node(1), node(2, { readable: false, schedulable: false }), node(3));
    expect(judge(chunk(2, { 1: 'ready', 2: 'ready' }), nodes)).to.deep.include({ lacking: 0, left: 2, surplus: [] });
  });

  it('misses copies on nodes that are away, and does not drop them', () => {
    const nodes = nodesOf(node(1), node(2, { standing: 'away', readable: false }), node(3));
    const verdict = judge(chunk(2, { 1: 'ready', 2: 'ready' }), nodes);
    expect(verdict).to.deep.include({ lacking: 1, left: 1, surplus: [], sources: [nodeId(1)] });
  });

  it('trims the fullest when a node came back', () => {
    const nodes = nodesOf(node(1), node(2, { freeBytes: 5 }), node(3));
    expect(judge(chunk(2, { 1: 'ready', 2: 'ready', 3: 'ready' }), nodes).surplus).to.deep.equal([nodeId(2)]);
  });

  it('drops the copy of a draining node after the others are there, not before', () => {
    const nodes = nodesOf(node(1), node(2, { standing: 'leaving', schedulable: false }), node(3));
    const before = judge(chunk(2, { 1: 'ready', 2: 'ready' }), nodes);
    expect(before).to.deep.include({ lacking: 1, left: 2, surplus: [], movesOff: nodeId(2) });
    const after = judge(chunk(2, { 1: 'ready', 2: 'ready', 3: 'ready' }), nodes);
    expect(after).to.deep.include({ lacking: 0, surplus: [nodeId(2)] });
  });

  it('counts a copy that is on its way', () => {
    const nodes = nodesOf(node(1), node(2), node(3));
    expect(judge(chunk(2, { 1: 'ready', 2: 'writing' }), nodes).lacking).to.equal(0);
  });

  it('lets bad copies go only where a whole one is left', () => {
    const nodes = nodesOf(node(1), node(2));
    expect(judge(chunk(2, { 1: 'corrupt', 2: 'ready' }), nodes).bad).to.deep.equal([nodeId(1)]);
    expect(judge(chunk(1, { 1: 'corrupt' }), nodes)).to.deep.include({ bad: [], left: 0, lacking: 1 });
  });

  it('lets a rebalance choose the copy that goes', () => {
    const nodes = nodesOf(node(1), node(2, { freeBytes: 5 }), node(3));
    const verdict = judge(chunk(2, { 1: 'ready', 2: 'ready', 3: 'ready' }), nodes, nodeId(1));
    expect(verdict.surplus).to.deep.equal([nodeId(1)]);
  });
});

describe('the plan of copies', () => {
  it('does the most endangered first, and drains last', () => {
    const nodes = nodesOf(node(1), node(2), node(3), node(4, { standing: 'leaving' }), node(5));
    const drained = judge(chunk(1, { 4: 'ready' }, 1), nodes);
    const mild = judge(chunk(3, { 1: 'ready', 2: 'ready' }, 2), nodes);
    const urgent = judge(chunk(3, { 1: 'ready' }, 3), nodes);
    expect([drained, mild, urgent].sort(byUrgency)).to.deep.equal([urgent, mild, drained]);
  });

  it('says why it cannot', () => {
    const nodes = nodesOf(node(1), node(2, { standing: 'away', readable: false, schedulable: false }));
    const lonely = judge(chunk(2, { 1: 'ready' }, 1), nodes);
    const lost = judge(chunk(1, { 2: 'ready' }, 2), nodes);
    const { blocked } = planCopies([lonely, lost], nodes, never);
    expect(blocked.get(lonely.chunk.id)).to.match(/add, start or uncordon one/);
    expect(blocked.get(lost.chunk.id)).to.match(/n2, which cannot be read; start or restart those/);
  });

  it('avoids a node that failed to take the chunk', () => {
    const nodes = nodesOf(node(1), node(2, { freeBytes: 2 * GIB }), node(3));
    const plan = planCopies([judge(chunk(2, { 1: 'ready' }), nodes)], nodes, (_chunk, id) => id === nodeId(2));
    expect(plan.copies.map((copy) => copy.target)).to.deep.equal([nodeId(3)]);
  });

  const cluster = fc.array(
    fc.record({
      rooms: fc.integer({ min: 0, max: 6 }),
      standing: fc.constantFrom<StorageNode['standing']>('here', 'here', 'here', 'leaving', 'away'),
      isUp: fc.boolean(),
    }),
    { minLength: 1, maxLength: 7 },
  );
  const states = fc.constantFrom<ReplicaState>('writing', 'ready', 'ready', 'ready', 'missing', 'corrupt', 'deleting');
  const chunks = fc.array(
    fc.record({
      wanted: fc.integer({ min: 1, max: 4 }),
      copies: fc.dictionary(fc.constantFrom('1', '2', '3', '4', '5', '6', '7'), states),
    }),
    { maxLength: 8 },
  );

  it('keeps its promises in any cluster: room, distinct nodes, sources that can be read, nothing given up too early', () => {
    fc.assert(
      fc.property(cluster, chunks, (views, wishes) => {
        const nodes = nodesOf(
          ...views.map(({ rooms, standing, isUp }, at) =>
            node(at + 1, {
              standing,
              readable: isUp && standing !== 'away',
              schedulable: isUp && standing === 'here',
              freeBytes: NODE_RESERVE_BYTES + rooms * CHUNK_SIZE_BYTES,
            }),
          ),
        );
        const stored = wishes.map(({ wanted, copies }, at) => chunk(wanted, copies, at + 1));
        const verdicts = stored.map((each) => judge(each, nodes));
        const plan = planCopies(verdicts, nodes, never);
        const taken = new Map<NodeId, number>();
        const targets = new Map<ChunkId, NodeId[]>();
        for (const { chunk: each, target, sources } of plan.copies) {
          taken.set(target, (taken.get(target) ?? 0) + 1);
          targets.set(each.id, [...(targets.get(each.id) ?? []), target]);
          expect(nodes.get(target)?.schedulable).to.equal(true);
          expect(each.replicas.map((copy) => copy.nodeId)).not.to.include(target);
          expect(sources.length).to.be.greaterThan(0);
          for (const source of sources) expect(nodes.get(source)?.readable).to.equal(true);
        }
        for (const [id, count] of taken) expect(count).to.be.at.most(views[Number.parseInt(id, 16) - 1]!.rooms);
        for (const verdict of verdicts) {
          const made = targets.get(verdict.chunk.id) ?? [];
          expect(new Set(made).size).to.equal(made.length);
          expect(made.length).to.be.at.most(verdict.lacking);
          if (made.length < verdict.lacking) expect(plan.blocked.has(verdict.chunk.id)).to.equal(true);
          // What stays after the trimming is as many as wanted, or all there are.
          const ready = verdict.chunk.replicas.filter((copy) => copy.state === 'ready').map((copy) => copy.nodeId);
          const reachable = ready.filter((id) => (nodes.get(id)?.standing ?? 'away') !== 'away');
          const kept = reachable.filter((id) => !verdict.surplus.includes(id));
          expect(kept.length).to.be.at.least(Math.min(reachable.length, verdict.chunk.wanted));
        }
      }),
    );
  });
});

describe('the balance', () => {
  const loads = fc.array(
    fc.record({ chunks: fc.integer({ min: 0, max: 40 }), gigabytes: fc.integer({ min: 1, max: 4 }) }),
    { minLength: 2, maxLength: 6 },
  );

  it('comes to an end, with nodes that differ by one chunk at most', () => {
    fc.assert(
      fc.property(loads, (views) => {
        const current = new Map<NodeId, Load>(
          views.map(({ chunks: count, gigabytes }, at) => [
            nodeId(at),
            {
              id: nodeId(at),
              name: `n${at}`,
              usedBytes: count * CHUNK_SIZE_BYTES,
              capacityBytes: gigabytes * GIB,
            },
          ]),
        );
        let moves = 0;
        for (;;) {
          const shift = nextShift([...current.values()], () => true);
          if (shift === undefined) break;
          current.set(shift.from.id, { ...shift.from, usedBytes: shift.from.usedBytes - CHUNK_SIZE_BYTES });
          current.set(shift.to.id, { ...shift.to, usedBytes: shift.to.usedBytes + CHUNK_SIZE_BYTES });
          moves += 1;
          expect(moves).to.be.at.most(250);
        }
        // One chunk more for any, one less for any other, would not make them more alike.
        const share = (load: Load, change = 0): number => (load.usedBytes + change) / load.capacityBytes;
        const all = [...current.values()];
        for (const from of all) {
          for (const to of all) {
            if (from.id === to.id) continue;
            expect(share(to, CHUNK_SIZE_BYTES)).to.be.greaterThan(share(from, -CHUNK_SIZE_BYTES));
          }
        }
      }),
    );
  });
});
