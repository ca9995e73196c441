/**
 * Finds the chunks of explicit sizes that hold a range of a file's bytes, by a binary search in their offsets, which are
 * the sums of the sizes before them. Pure.
 */
import { NO_CHUNKS, type ByteRange, type ChunkRange } from '../../shared/transfer/chunk-range.js';

/** Offset of the chunk's first byte: ascending, 0 for the first one. */
export type OffsetOf = (index: number) => Promise<number>;

/** The range lies within the file, whose `count` chunks have at least one byte each. */
export async function namedChunks(count: number, offsetOf: OffsetOf, { start, end }: ByteRange): Promise<ChunkRange> {
  if (start >= end || count === 0) return NO_CHUNKS;
  return { from: await chunkAt(count, offsetOf, start), until: (await chunkAt(count, offsetOf, end - 1)) + 1 };
}

/** Returns the last chunk that begins at the byte or before. */
async function chunkAt(count: number, offsetOf: OffsetOf, byte: number): Promise<number> {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((await offsetOf(middle)) <= byte) low = middle;
    else high = middle - 1;
  }
  return low;
}
