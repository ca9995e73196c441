/** Reads chunks back and compares them with the catalogue: for scrubs, and for checks of a suspicion. */
import { createHash } from 'node:crypto';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { toAgentError } from '../volume/errors.js';
import { Pace } from './pace.js';
import type { ChunkStore } from './store.js';
import type { ExpectedChunk } from './write.js';

export interface CheckOrder {
  readonly chunks: readonly { readonly chunk: ChunkId; readonly expected: ExpectedChunk }[];
  /** Bytes a second; 0: no limit. */
  readonly rate: number;
}

export interface Finding {
  readonly chunk: ChunkId;
  /** unreadable: the content is unknown, although the volume as a whole can be read. */
  readonly state: 'missing' | 'corrupt' | 'unreadable';
  /** Describes what is there instead, for people. */
  readonly found: string;
}

/** Bytes per read: a compromise between few calls and what a node with little memory can spare. */
const PIECE_BYTES = MIB / 4;

/** Returns the chunks that are not whole, in the order of the request. */
export async function checkChunks(store: ChunkStore, clock: Clock, order: CheckOrder): Promise<Finding[]> {
  const pace = new Pace(clock, order.rate);
  const buffer = Buffer.allocUnsafe(PIECE_BYTES);
  const findings: Finding[] = [];
  for (const { chunk, expected } of order.chunks) {
    const finding = await checkOne(store, chunk, expected, buffer, pace);
    if (finding === undefined) continue;
    if (finding.state === 'corrupt') store.countCorrupt();
    findings.push(finding);
  }
  return findings;
}

async function checkOne(
  store: ChunkStore,
  chunk: ChunkId,
  expected: ExpectedChunk,
  buffer: Buffer,
  pace: Pace,
): Promise<Finding | undefined> {
  const opened = await store.openRead(chunk).catch((error: unknown) => ({ error }));
  if ('error' in opened) return findingOf(chunk, opened.error);
  const hash = createHash('md5');
  let size = 0;
  try {
    for (;;) {
      const { bytesRead } = await opened.file.read(buffer, 0, buffer.length, size);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      size += bytesRead;
      await pace.spend(bytesRead);
    }
  } catch (error) {
    return findingOf(chunk, error);
  } finally {
    await opened.file.close().catch(() => undefined);
  }
  const md5 = hash.digest('hex');
  if (size === expected.size && md5 === expected.md5) return undefined;
  return { chunk, state: 'corrupt', found: `${size} bytes with MD5 ${md5}, not ${expected.size} with ${expected.md5}` };
}

/** A chunk that could not be read is not reported as corrupt: its bytes may be intact. */
function findingOf(chunk: ChunkId, error: unknown): Finding {
  if (error instanceof NexusError && error.code === 'not_found')
    return { chunk, state: 'missing', found: 'it is not on the volume' };
  if (error instanceof NexusError && error.code === 'data_loss')
    return { chunk, state: 'corrupt', found: error.message };
  return { chunk, state: 'unreadable', found: `it cannot be read: ${toAgentError(error).message}` };
}
