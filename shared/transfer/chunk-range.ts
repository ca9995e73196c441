/** Which chunks of a file hold a range of its bytes. */
import { CHUNK_SIZE_BYTES } from '../limits.js';

/** Within the file. */
export interface ByteRange {
  readonly start: number;
  /** The byte after the last. */
  readonly end: number;
}

export interface ChunkRange {
  readonly from: number;
  /** The index after the last. */
  readonly until: number;
}

export const NO_CHUNKS: ChunkRange = { from: 0, until: 0 };

/** The chunks of a range in a file of which all but the last are full. Pure. */
export function fullChunks({ start, end }: ByteRange): ChunkRange {
  if (start >= end) return NO_CHUNKS;
  return { from: Math.floor(start / CHUNK_SIZE_BYTES), until: Math.ceil(end / CHUNK_SIZE_BYTES) };
}

export interface ChunkedFile {
  readonly fileId: string;
  readonly chunksCount: number;
  /** The file's chunks have sizes of their own; false: all but the last are full. */
  readonly hasExplicitSizes: boolean;
}

/** Returns the chunks of a range, all without one. Asks the catalogue only about explicit sizes. */
export async function chunksOf(
  catalogue: { findChunks(file: string, range: ByteRange): Promise<ChunkRange> },
  { fileId, chunksCount, hasExplicitSizes }: ChunkedFile,
  range: ByteRange | undefined,
): Promise<ChunkRange> {
  if (range === undefined) return { from: 0, until: chunksCount };
  if (hasExplicitSizes) return await catalogue.findChunks(fileId, range);
  const { from, until } = fullChunks(range);
  return { from, until: Math.min(chunksCount, until) };
}
