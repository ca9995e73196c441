/** Rules of files that every implementation of the store keeps. */
import { NexusError } from '../../../shared/errors.js';
import { CHUNK_SIZE_BYTES } from '../../../shared/limits.js';
import type { ChunkRecord } from './store.js';

export const noSuchFile = (id: string): NexusError =>
  new NexusError('not_found', `no file has the id or the name "${id}"`, {}, { advice: { key: 'list-files' } });

export const noSuchUpload = (id: string): NexusError =>
  new NexusError('not_found', `there is no upload "${id}": it has expired, was aborted or is already committed`);

export const movedMeanwhile = (chunk: string): NexusError =>
  new NexusError('aborted', `chunk ${chunk} was stored or placed elsewhere in the meantime; request a grant again`);

/**
 * Maximum size of a chunk of an upload: its part of the announced size, or a full chunk if no size was announced or the
 * upload exceeds it.
 */
export function announcedBytes(expectedSize: number, index: number): number {
  const rest = expectedSize - index * CHUNK_SIZE_BYTES;
  return rest <= 0 ? CHUNK_SIZE_BYTES : Math.min(rest, CHUNK_SIZE_BYTES);
}

/**
 * Checks that every chunk is there, that their sizes add up, and that all but the last are full where the sender named
 * no sizes. Codes: failed_precondition, naming the first wrong chunk.
 */
export function checkComplete(
  chunks: readonly ChunkRecord[],
  claimed: { readonly size: number; readonly chunksCount: number; readonly explicitSizes?: boolean },
): void {
  const byIndex = new Map(chunks.map((chunk) => [chunk.index, chunk]));
  let total = 0;
  for (let index = 0; index < claimed.chunksCount; index += 1) {
    const chunk = byIndex.get(index);
    if (chunk?.replicas.some((replica) => replica.state === 'ready') !== true) {
      throw new NexusError('failed_precondition', `chunk ${index} has not been written; upload the file again`, {
        chunk: index,
      });
    }
    if (claimed.explicitSizes !== true && index < claimed.chunksCount - 1 && chunk.size !== CHUNK_SIZE_BYTES) {
      throw new NexusError(
        'failed_precondition',
        `chunk ${index} has ${chunk.size} bytes; all but the last must be full`,
        { chunk: index },
      );
    }
    total += chunk.size;
  }
  if (total !== claimed.size) {
    throw new NexusError(
      'failed_precondition',
      `the chunks hold ${total} bytes, not ${claimed.size}; upload the file again`,
    );
  }
}
