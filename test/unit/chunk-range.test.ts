/** Which chunks hold a range of bytes: against sums that are counted out. */
import { expect } from 'chai';
import fc from 'fast-check';
import { namedChunks } from '../../controller/file/chunk-range.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { chunksOf, fullChunks } from '../../shared/transfer/chunk-range.js';

/** The chunks that overlap the range, one by one. */
function counted(sizes: readonly number[], start: number, end: number): { from: number; until: number } {
  let offset = 0;
  const touched: number[] = [];
  for (const [index, size] of sizes.entries()) {
    if (offset < end && offset + size > start) touched.push(index);
    offset += size;
  }
  return start >= end ? { from: 0, until: 0 } : { from: touched[0] ?? 0, until: (touched.at(-1) ?? -1) + 1 };
}

const offsetsOf = (sizes: readonly number[]): number[] => {
  let end = 0;
  return sizes.map((size) => (end += size) - size);
};

describe('the chunks of a range', () => {
  const size = fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: CHUNK_SIZE_BYTES }));

  it('of explicit sizes are those that overlap it', async () => {
    const file = fc.array(size, { minLength: 1, maxLength: 200 }).chain((sizes) => {
      const total = sizes.reduce((sum, each) => sum + each, 0);
      return fc.tuple(fc.constant(sizes), fc.integer({ min: 0, max: total }), fc.integer({ min: 0, max: total }));
    });
    await fc.assert(
      fc.asyncProperty(file, async ([sizes, start, end]) => {
        const offsets = offsetsOf(sizes);
        let looks = 0;
        const offsetOf = (index: number): Promise<number> => {
          looks += 1;
          return Promise.resolve(offsets[index] ?? -1);
        };
        const found = await namedChunks(sizes.length, offsetOf, { start, end });
        expect(found).to.deep.equal(counted(sizes, start, end));
        expect(looks).to.be.at.most(2 * Math.ceil(Math.log2(sizes.length + 1)));
      }),
    );
  });

  it('of full size are those that overlap it', () => {
    const sizes = Array<number>(5).fill(CHUNK_SIZE_BYTES);
    const byte = fc.integer({ min: 0, max: 5 * CHUNK_SIZE_BYTES });
    fc.assert(
      fc.property(byte, byte, (start, end) => {
        expect(fullChunks({ start, end })).to.deep.equal(counted(sizes, start, end));
      }),
    );
  });

  it('is none in an empty file', async () => {
    const never = (): Promise<number> => Promise.reject(new Error('asked'));
    expect(await namedChunks(0, never, { start: 0, end: 5 })).to.deep.equal({ from: 0, until: 0 });
  });

  it('are all without one; the catalogue is asked only about explicit sizes', async () => {
    const found = { from: 1, until: 2 };
    const catalogue = { findChunks: () => Promise.resolve(found) };
    const file = { fileId: 'f', chunksCount: 3, hasExplicitSizes: false };
    const named = { ...file, hasExplicitSizes: true };
    const last = { start: 2 * CHUNK_SIZE_BYTES + 1, end: 9 * CHUNK_SIZE_BYTES };
    expect(await chunksOf(catalogue, named, undefined)).to.deep.equal({ from: 0, until: 3 });
    expect(await chunksOf(catalogue, file, last)).to.deep.equal({ from: 2, until: 3 });
    expect(await chunksOf(catalogue, named, last)).to.deep.equal(found);
  });
});
