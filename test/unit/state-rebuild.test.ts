/** Files put together from what lies on the volumes: what is whole, what can't be proved, what is missing. */
import { expect } from 'chai';
import fc from 'fast-check';
import { rebuildSummary } from '../../controller/edge/services/state.js';
import { planRebuild, type FoundCopy } from '../../controller/state/rebuild-plan.js';
import type { ChunkOrigin } from '../../shared/chunk-token.js';
import { newChunkId, newFileId, type ChunkId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { MD5, nodeId } from '../support/records.js';

const FULL = CHUNK_SIZE_BYTES;
const [A, B, C] = [nodeId(1), nodeId(2), nodeId(3)] as const;

const origin = (index: number, change: Partial<ChunkOrigin> = {}): ChunkOrigin => ({
  file: 'f'.repeat(16),
  index,
  name: 'data.bin',
  owner: 'alice',
  replicas: 2,
  expected: 0,
  created: 1000,
  ...change,
});

const copy = (of: ChunkOrigin | undefined, size: number, change: Partial<FoundCopy> = {}): FoundCopy => ({
  nodeId: A,
  chunkId: newChunkId(),
  size,
  md5: MD5,
  of,
  ...change,
});

describe('a rebuild from volumes', () => {
  it('that is only planned says that files of nodes to adopt are not known yet', () => {
    const rebuilt = { nodes: ['web-1'], files: [], warnings: ['one'] };
    expect(rebuildSummary(rebuilt, true).warnings).to.have.length(2);
    expect(rebuildSummary(rebuilt, true).warnings[1]).to.match(/a rebuild without --plan finds them/);
    expect(rebuildSummary(rebuilt, false).warnings).to.deep.equal(['one']);
    expect(rebuildSummary({ ...rebuilt, nodes: [] }, true).warnings).to.deep.equal(['one']);
  });

  it('puts a file together whose last chunk is short', () => {
    const [one, two] = [copy(origin(0), FULL), copy(origin(1), 5, { nodeId: B })];
    const { files, warnings } = planRebuild([two, one, { ...one, nodeId: C }]);
    expect(warnings).to.deep.equal([]);
    expect(files).to.have.length(1);
    expect(files[0]).to.deep.include({ verdict: 'whole', missing: [] });
    expect(files[0]?.file).to.deep.include({ name: 'data.bin', owner: 'alice', size: FULL + 5, status: 'ready' });
    expect(files[0]?.file).to.deep.include({ chunksCount: 2, replicas: 2, kind: 'raw', createdAt: 1000 });
    expect(files[0]?.chunks.map(({ replicas }) => replicas.map((replica) => replica.nodeId))).to.deep.equal([
      [A, C],
      [B],
    ]);
  });

  it('says that full chunks without a known size prove nothing', () => {
    expect(planRebuild([copy(origin(0), FULL), copy(origin(1), FULL)]).files[0]?.verdict).to.equal('unproved');
    const known = { expected: 2 * FULL };
    const { files } = planRebuild([copy(origin(0, known), FULL), copy(origin(1, known), FULL)]);
    expect(files[0]?.verdict).to.equal('whole');
  });

  it('names what is missing: in the middle, and at the end where the size is known', () => {
    const hole = planRebuild([copy(origin(0), FULL), copy(origin(2), 5)]).files[0];
    expect(hole).to.deep.include({ verdict: 'partial', missing: [1] });
    expect(hole?.file).to.deep.include({ status: 'partial', chunksCount: 3, size: 2 * FULL + 5 });
    const known = { expected: 2 * FULL + 7 };
    const tail = planRebuild([copy(origin(0, known), FULL)]).files[0];
    expect(tail).to.deep.include({ verdict: 'partial', missing: [1, 2] });
    expect(tail?.file.size).to.equal(2 * FULL + 7);
  });

  it('puts chunks of explicit sizes together by their offsets', () => {
    const part = (index: number, offset: number, size: number, expected = 0): FoundCopy =>
      copy(origin(index, { offset, expected }), size);
    const whole = planRebuild([part(0, 0, 1, 12), part(2, 8, 4, 12), part(1, 1, 7, 12)]).files[0];
    expect(whole).to.deep.include({ verdict: 'whole', missing: [] });
    expect(whole?.file).to.deep.include({ explicitSizes: true, size: 12, chunksCount: 3, status: 'ready' });
    expect(whole?.chunks.map(({ offset, size }) => [offset, size])).to.deep.equal([
      [0, 1],
      [1, 7],
      [8, 4],
    ]);
    expect(planRebuild([part(0, 0, 1), part(1, 1, 7)]).files[0]).to.deep.include({ verdict: 'unproved', missing: [] });
    const hole = planRebuild([part(0, 0, 1, 12), part(2, 8, 4, 12)]).files[0];
    expect(hole).to.deep.include({ verdict: 'partial', missing: [1] });
    expect(hole?.file).to.deep.include({ size: 12, chunksCount: 3, status: 'partial' });
    const tail = planRebuild([part(0, 0, 1, 12), part(1, 1, 7, 12)]).files[0];
    expect(tail).to.deep.include({ verdict: 'partial', missing: [2] });
    expect(tail?.file).to.deep.include({ size: 12, chunksCount: 3 });
  });

  it('leaves out chunks that do not fit between the others', () => {
    const part = (
      index: number,
      offset: number | undefined,
      size: number,
      change: Partial<FoundCopy> = {},
    ): FoundCopy => copy(origin(index, { expected: 12, ...(offset === undefined ? {} : { offset }) }), size, change);
    const cases: (readonly [FoundCopy[], number[]])[] = [
      [[part(0, 0, 1), part(1, 2, 7), part(2, 8, 4)], [1]],
      [[part(0, 3, 1), part(1, 1, 7), part(2, 8, 4)], [0]],
      [[part(0, 0, 1), part(1, 1, 7), part(2, 7, 5)], [2]],
      [
        [part(0, 0, 8), part(2, 8, 4)],
        [1, 2],
      ],
      [[part(0, 0, 1), part(1, 1, 7), part(2, undefined, 4)], [2]],
      [[copy(origin(0), FULL), copy(origin(1), 5), copy(origin(2), 5)], [1]],
    ];
    for (const [copies, missing] of cases) {
      const { files, warnings } = planRebuild(copies);
      expect(files[0], JSON.stringify(missing)).to.deep.include({ verdict: 'partial', missing });
      const left = copies.filter(({ of }) => missing.includes(of?.index ?? -1));
      expect(files[0]?.chunks.map(({ index }) => index)).to.deep.equal(
        copies.filter((one) => !left.includes(one)).map(({ of }) => of?.index),
      );
      expect(warnings).to.have.length(left.length);
    }
    const chunkId = newChunkId();
    const [made, unplaced] = [part(0, 0, 12, { chunkId, nodeId: C }), part(0, undefined, 12, { chunkId, nodeId: A })];
    expect(planRebuild([unplaced, made]).files[0]?.chunks[0]?.replicas).to.deep.equal([{ nodeId: C, state: 'ready' }]);
  });

  it('follows most copies where they differ, and says which were left alone', () => {
    const chunkId = newChunkId();
    const good = copy(origin(0), 9, { chunkId });
    const bad = { ...good, nodeId: C, md5: '0'.repeat(32) };
    const { files, warnings } = planRebuild([bad, good, { ...good, nodeId: B }]);
    expect(files[0]?.chunks[0]?.replicas.map((replica) => replica.nodeId)).to.deep.equal([A, B]);
    expect(warnings.join()).to.contain(C).and.to.contain(chunkId);
  });

  it('takes one chunk for each place, and leaves those alone that tell of no file', () => {
    const twice = [copy(origin(0), 9), copy(origin(0), 9)];
    const { files, warnings } = planRebuild([...twice, copy(undefined, 3)]);
    expect(files[0]?.chunks).to.have.length(1);
    expect(warnings).to.have.length(2);
  });

  it('gives any stored file back, in whatever order its copies are found', () => {
    const stored = fc.record({
      chunks: fc.integer({ min: 1, max: 6 }),
      last: fc.integer({ min: 1, max: FULL }),
      copies: fc.integer({ min: 1, max: 3 }),
      seed: fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
    });
    fc.assert(
      fc.property(fc.array(stored, { maxLength: 5 }), (originals) => {
        const found: { order: number; copy: FoundCopy }[] = [];
        const expected = originals.map(({ chunks, last, copies, seed }) => {
          const file = newFileId();
          const size = (chunks - 1) * FULL + last;
          const ids: ChunkId[] = [];
          for (let index = 0; index < chunks; index += 1) {
            const chunkId = newChunkId();
            ids.push(chunkId);
            for (const node of [A, B, C].slice(0, copies)) {
              const of = origin(index, { file, expected: size });
              const bytes = index === chunks - 1 ? last : FULL;
              found.push({ order: seed.next().value as number, copy: copy(of, bytes, { chunkId, nodeId: node }) });
            }
          }
          return { id: file, size, ids };
        });
        const plan = planRebuild(found.sort((one, other) => one.order - other.order).map((entry) => entry.copy));
        expect(plan.warnings).to.deep.equal([]);
        const rebuilt = plan.files.map(({ file, chunks, verdict }) => {
          expect(verdict).to.equal('whole');
          return { id: file.id, size: file.size, ids: chunks.map((chunk) => chunk.id) };
        });
        const byId = (one: { id: string }, other: { id: string }): number => (one.id < other.id ? -1 : 1);
        expect(rebuilt).to.deep.equal(expected.sort(byId));
      }),
    );
  });
});
