/**
 * Checks a page of the chunks that a node reports to hold. The list must be in order and no longer than allowed, or
 * reading it page by page would never end. An entry that makes no sense counts as damaged; the rest stay valid.
 */
import { NexusError } from '../../shared/errors.js';
import type { ChunkOrigin, StoredChunk } from '../../shared/gen/nexus/v1/agent.js';
import { isChunkId, type ChunkId, type NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, MAX_FILE_NAME_BYTES, MAX_REPLICAS } from '../../shared/limits.js';
import { plainText } from '../../shared/plain-text.js';
import type { NodeContext } from './context.js';

export interface HeldChunk extends StoredChunk {
  readonly chunkId: ChunkId;
}

export interface PageRequest {
  readonly after: string;
  readonly limit: number;
  readonly timeoutMs: number;
}

/** Codes: those of the bus; also unavailable when the list is invalid. */
export async function chunkPage(
  { bus, registry }: Pick<NodeContext, 'bus' | 'registry'>,
  node: NodeId,
  { after, limit, timeoutMs }: PageRequest,
): Promise<readonly HeldChunk[]> {
  const { chunks } = await bus.request(node, { listChunks: { after, limit } }, timeoutMs);
  const isInOrder = chunks.every(
    ({ chunkId }, at) => isChunkId(chunkId) && chunkId > (at === 0 ? after : (chunks[at - 1]?.chunkId ?? '')),
  );
  const reject = (fault: string): void => {
    registry.misconduct.note(node, registry.get(node)?.name ?? node, fault);
  };
  if (!isInOrder || chunks.length > limit) {
    reject('its list of chunks is invalid: ids out of order, malformed, or more than requested');
    throw new NexusError('unavailable', `the agent of ${node} sent an invalid list of chunks`);
  }
  return chunks.map((chunk) => {
    const checked = checkChunk(chunk);
    if (checked.damage !== '' && chunk.damage === '') reject(`its entry of chunk ${chunk.chunkId} is invalid`);
    return checked;
  });
}

/** Checks everything but the id, which has been checked before. Pure. */
export function checkChunk(chunk: StoredChunk): HeldChunk {
  const chunkId = chunk.chunkId as ChunkId;
  const nothing = { chunkId, size: 0n, md5: '', origin: undefined };
  if (chunk.damage !== '') return { ...nothing, damage: plainText(chunk.damage) };
  const { size, md5, origin } = chunk;
  const isWhole = size <= BigInt(CHUNK_SIZE_BYTES) && /^[0-9a-f]{32}$/.test(md5);
  if (!isWhole || (origin !== undefined && !isOrigin(origin)))
    return { ...nothing, damage: 'the entry that its agent reported is invalid' };
  return { ...chunk, chunkId };
}

const MOST = BigInt(Number.MAX_SAFE_INTEGER);
/** Latest time that a JavaScript date can hold, in ms. */
const LAST_DATE_MS = 8_640_000_000_000_000n;
const MAX_OWNER_CHARACTERS = 64;

function isOrigin({ fileId, name, owner, replicas, expectedBytes, createdAtMs, offset = 0n }: ChunkOrigin): boolean {
  return (
    /^[0-9a-f]{1,32}$/.test(fileId) &&
    Buffer.byteLength(name) <= MAX_FILE_NAME_BYTES &&
    owner.length <= MAX_OWNER_CHARACTERS &&
    plainText(owner) === owner &&
    replicas <= MAX_REPLICAS &&
    expectedBytes <= MOST &&
    offset <= MOST &&
    createdAtMs <= LAST_DATE_MS
  );
}
