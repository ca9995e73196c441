import { expect } from 'chai';
import fc from 'fast-check';
import { inCommandWords } from '../../shared/advice/command-words.js';
import {
  assertRoomForFile,
  NODE_RESERVE_BYTES,
  planPlacement,
  roomFor,
  type Candidate,
  type PlacementRequest,
} from '../../controller/file/plan.js';
import type { NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, GIB, MIB } from '../../shared/limits.js';
import { codeOf, errorOf } from '../support/codes.js';
import { nodeId } from '../support/records.js';

const spaceFor = (chunks: number): number => NODE_RESERVE_BYTES + chunks * CHUNK_SIZE_BYTES;

const node = (number: number, change: Partial<Candidate> = {}): Candidate => ({
  id: nodeId(number),
  name: `node-${number}`,
  schedulable: true,
  freeBytes: 1000 * GIB,
  freeInodes: Infinity,
  ...change,
});
const nodes = (count: number): Candidate[] => Array.from({ length: count }, (_, number) => node(number));

const plan = (request: Partial<PlacementRequest>) =>
  planPlacement({ nodes: nodes(3), cursor: 0, chunks: 1, replicas: 1, ...request });

function countsOf(places: readonly (readonly NodeId[])[]): Map<NodeId, number> {
  const counts = new Map<NodeId, number>();
  for (const id of places.flat()) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/** Clusters of 1 to 12 nodes, some of them down, with room for 0 to 30 chunks. */
const cluster = fc
  .array(fc.record({ schedulable: fc.boolean(), room: fc.nat(30) }), { minLength: 1, maxLength: 12 })
  .map((all) =>
    all.map(({ schedulable, room }, number) => node(number, { schedulable, freeBytes: spaceFor(room) + 17 })),
  );

describe('placement', () => {
  it('goes round robin', () => {
    const { chunks, cursor } = plan({ chunks: 5 });
    expect(chunks.flat()).to.deep.equal([0, 1, 2, 0, 1].map(nodeId));
    expect(plan({ cursor, chunks: 2 }).chunks.flat()).to.deep.equal([2, 0].map(nodeId));
  });

  it('gives every node the same share of first copies, which carry the client traffic', () => {
    const { chunks } = plan({ nodes: nodes(4), chunks: 8, replicas: 2 });
    const firsts = countsOf(chunks.map((ids) => ids.slice(0, 1)));
    expect([...firsts.values()]).to.deep.equal([2, 2, 2, 2]);
  });

  it('advises room on the disk of the host, not more nodes, where that disk is what is short', async () => {
    const full = [node(0, { freeBytes: 0, isBoundByHost: true }), node(1, { freeBytes: 0 })];
    const refusals = [() => plan({ nodes: full }), () => assertRoomForFile([...full, node(2)], 1, 2000 * GIB)];
    for (const refusal of refusals)
      expect((await errorOf(refusal)).message).to.match(
        /; the host's disk under the volumes is nearly full: make room on it/,
      );
    expect((await errorOf(() => plan({ nodes: full.slice(1) }))).message).to.match(/; remove files or create nodes$/);
  });

  it('puts copies on different running nodes with room, whatever the cluster', () => {
    fc.assert(
      fc.property(
        cluster,
        fc.nat(1000),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 4 }),
        (all, cursor, count, replicas) => {
          let placed: ReturnType<typeof planPlacement>;
          try {
            placed = planPlacement({ nodes: all, cursor, chunks: count, replicas });
          } catch {
            const withRoom = all.filter((one) => one.schedulable && roomFor(one) >= 1);
            expect(withRoom.length).to.be.below(replicas);
            return;
          }
          expect(placed.chunks.length).to.be.within(1, count);
          for (const ids of placed.chunks) {
            expect(ids).to.have.length(replicas);
            expect(new Set(ids).size).to.equal(replicas);
          }
          for (const [id, chunks] of countsOf(placed.chunks)) {
            const used = all.find((candidate) => candidate.id === id)!;
            expect(used.schedulable).to.equal(true);
            expect(chunks).to.be.at.most(roomFor(used));
          }
        },
      ),
    );
  });

  it('keeps the shares of nodes with room within one chunk of each other', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.nat(1000),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 0, max: 4 }),
        (count, start, batches, replicas, full) => {
          fc.pre(replicas <= count);
          // Full nodes between the others must not make their neighbours' shares larger.
          const fullNodes = Array.from({ length: full }, (_, number) => node(100 + number, { freeBytes: 0 }));
          const all = [...nodes(count), ...fullNodes].sort((one, other) =>
            one.id.at(-1)! < other.id.at(-1)! ? -1 : 1,
          );
          let cursor = start;
          const chunks: (readonly NodeId[])[] = [];
          for (const batch of batches) {
            const placed = planPlacement({ nodes: all, cursor, chunks: batch, replicas });
            expect(placed.chunks).to.have.length(batch);
            chunks.push(...placed.chunks);
            ({ cursor } = placed);
          }
          const counts = countsOf(chunks);
          const shares = nodes(count).map(({ id }) => counts.get(id) ?? 0);
          expect(Math.max(...shares) - Math.min(...shares)).to.be.at.most(1);
        },
      ),
    );
  });

  it('places every chunk of a one-copy file that was found to fit', () => {
    fc.assert(
      fc.property(cluster, fc.integer({ min: 1, max: 60 }), (all, count) => {
        let fits = true;
        try {
          assertRoomForFile(all, 1, count * CHUNK_SIZE_BYTES);
        } catch {
          fits = false;
        }
        const room = all.filter((one) => one.schedulable).reduce((sum, one) => sum + roomFor(one), 0);
        expect(fits).to.equal(room >= count);
        if (fits)
          expect(planPlacement({ nodes: all, cursor: 0, chunks: count, replicas: 1 }).chunks).to.have.length(count);
      }),
    );
  });

  it('fills nodes up and then grants fewer than asked', () => {
    const all = [node(0, { freeBytes: spaceFor(1) }), node(1, { freeBytes: spaceFor(2) })];
    const { chunks, passedOver } = plan({ nodes: all, chunks: 10 });
    expect(chunks.flat()).to.deep.equal([0, 1, 1].map(nodeId));
    expect(Object.keys(passedOver)).to.deep.equal(['node-0', 'node-1']);
  });

  it('leaves the reserve free: one byte less than chunk and reserve is no room', async () => {
    expect(plan({ nodes: [node(0, { freeBytes: spaceFor(1) })] }).chunks).to.have.length(1);
    const error = await errorOf(() => plan({ nodes: [node(0, { freeBytes: spaceFor(1) - 1 })] }));
    expect(error.code).to.equal('resource_exhausted');
    expect(error.details).to.include({ needed_bytes: spaceFor(1), free_bytes: spaceFor(1) - 1 });
    expect(error.message).to.include('with 14 MB free').and.include('the others has 14.0 MB');
  });

  it('says how many nodes have room when some have, and nothing of those as if they were full', async () => {
    const all = [node(0), node(1, { freeBytes: spaceFor(9) }), node(2, { freeBytes: 3 * MIB })];
    const error = await errorOf(() => plan({ nodes: all, replicas: 3 }));
    expect(error).to.include({ code: 'resource_exhausted' });
    expect(error.message)
      .to.include('3 node(s) with 14 MB free are needed')
      .and.include('2 of 3 have that much, and the emptiest of the others has 3 MB')
      .and.include('ask for fewer replicas');
    expect(error.details).to.include({ free_bytes: 3 * MIB });
  });

  it('says how to get a node when there is none', async () => {
    for (const none of [[], [node(0, { schedulable: false })]]) {
      const error = await errorOf(() => plan({ nodes: none }));
      expect(error.code).to.equal('failed_precondition');
      expect(inCommandWords(error)).to.include('nexus node create');
    }
  });

  it('refuses more copies than there are running nodes', async () => {
    expect(await codeOf(() => plan({ replicas: 4 }))).to.equal('failed_precondition');
    const oneDown = [node(0), node(1), node(2, { schedulable: false })];
    expect(await codeOf(() => plan({ nodes: oneDown, replicas: 3 }))).to.equal('failed_precondition');
  });

  describe('of a chunk whose node failed', () => {
    const move = (without: readonly number[], replicas = 1) => [{ replicas, without: new Set(without.map(nodeId)) }];

    it('goes to another node', () => {
      const { moves, chunks } = plan({ chunks: 0, moves: move([0]) });
      expect(moves).to.deep.equal([[nodeId(1)]]);
      expect(chunks).to.deep.equal([]);
    });

    it('is refused when nothing but failed nodes is left', async () => {
      expect(await codeOf(() => plan({ moves: move([0, 1, 2]) }))).to.equal('unavailable');
      expect(await codeOf(() => plan({ moves: move([0, 1], 2) }))).to.equal('unavailable');
    });

    it('takes room before new chunks do', () => {
      const all = [node(0, { freeBytes: spaceFor(5) }), node(1, { freeBytes: spaceFor(1) })];
      const { moves, chunks } = plan({ nodes: all, chunks: 2, moves: move([0]) });
      expect(moves).to.deep.equal([[nodeId(1)]]);
      expect(chunks.flat()).to.deep.equal([nodeId(0), nodeId(0)]);
    });

    it('needs no new place when its other copies are on their way', () => {
      expect(plan({ chunks: 0, moves: move([0, 1], 0) }).moves).to.deep.equal([[]]);
    });
  });

  describe('of a whole file', () => {
    const cramped = [node(0, { freeBytes: spaceFor(100) }), node(1, { freeBytes: spaceFor(2) })];

    it('counts a node once for each chunk', async () => {
      assertRoomForFile(cramped, 2, 2 * CHUNK_SIZE_BYTES);
      const error = await errorOf(() => assertRoomForFile(cramped, 2, 2 * CHUNK_SIZE_BYTES + 1));
      expect(error.code).to.equal('resource_exhausted');
      expect(error.details).to.deep.equal({ needed_bytes: 2 * CHUNK_SIZE_BYTES + 1, free_bytes: 2 * CHUNK_SIZE_BYTES });
      assertRoomForFile(cramped, 1, 102 * CHUNK_SIZE_BYTES);
    });

    it('needs room for one chunk when the size is not known', async () => {
      expect(await codeOf(() => assertRoomForFile([node(0, { freeBytes: 0 })], 1, 0))).to.equal('resource_exhausted');
      assertRoomForFile([node(0, { freeBytes: spaceFor(1) })], 1, 0);
    });
  });

  it('passes over nodes without free inodes, and says so', async () => {
    const full = node(0, { freeInodes: 60 });
    const placed = plan({ nodes: [full, node(1)], chunks: 2 });
    expect(placed.chunks).to.deep.equal([[nodeId(1)], [nodeId(1)]]);
    expect(placed.passedOver['node-0']).to.equal('no room for a chunk (60 inodes free)');
    const error = await errorOf(() => plan({ nodes: [full] }));
    expect(error.code).to.equal('resource_exhausted');
    expect(error.message).to.match(/too few free inodes \(60 at the most\)/);
  });

  it('says why a running node takes nothing', async () => {
    const unfit = node(0, { schedulable: false, unfit: 'its volume is read-only: writing fails: EROFS' });
    expect(plan({ nodes: [unfit, node(1)] }).passedOver['node-0']).to.match(/^its volume is read-only/);
    expect((await errorOf(() => plan({ nodes: [unfit] }))).message).to.match(
      /repair what fails \(node node-0: its volume/,
    );
  });
});
