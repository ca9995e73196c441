/**
 * Receipts: an agent's signed word that it holds a chunk durably. They arrive by way of the client and are believed only
 * with the signature of a node that was granted this very chunk. An agent may be hostile: what it signs is checked, too,
 * and can't change what another agent has signed before it.
 */
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { peekReceipt, verifyPackReceipt, verifyReceipt } from '../../shared/chunk-token.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, MAX_PACKED_FILES } from '../../shared/limits.js';
import type { ChunkRecord, ReceivedChunk } from '../store/port/store.js';
import type { NodeDirectory } from './nodes.js';
import type { StoredCopy } from './room.js';

export interface ClaimedReceipt {
  readonly index: number;
  readonly receipt: string;
}

const claimsSchema = z.object({
  chunk: z.string(),
  node: z.string(),
  size: z.int().min(1).max(CHUNK_SIZE_BYTES),
  md5: z.string().regex(/^[0-9a-f]{32}$/),
  at: z.number(),
});

export interface AcceptedReceipts {
  readonly received: readonly ReceivedChunk[];
  /** The same, copy by copy. */
  readonly copies: readonly StoredCopy[];
}

/**
 * `chunks` are the upload's, as granted; `hasNamedSizes`: each must have exactly its size. A receipt for a copy that has
 * been placed elsewhere meanwhile, or that is known to be stored, is left out.
 * Codes: invalid_argument (not of this upload, or two that contradict each other), permission_denied (signature or
 * contents), unavailable (the node's key is not known).
 */
export function acceptReceipts(
  chunks: readonly ChunkRecord[],
  receipts: readonly ClaimedReceipt[],
  nodes: NodeDirectory,
  hasNamedSizes = false,
): AcceptedReceipts {
  const byIndex = new Map(chunks.map((chunk) => [chunk.index, chunk]));
  const accepted = new Map<ChunkId, ReceivedChunk>();
  const copies: StoredCopy[] = [];
  for (const { index, receipt } of receipts) {
    const peeked = peekReceipt(receipt);
    const chunk = byIndex.get(index);
    const copy = chunk?.replicas.find((replica) => replica.nodeId === peeked.node);
    if (chunk === undefined || chunk.id !== peeked.chunk || copy === undefined) {
      throw refused('invalid_argument', index, 'it is not for a chunk and node of this upload');
    }
    if (copy.state !== 'writing') continue;
    const { size, md5, at } = verified(index, receipt, copy.nodeId, nodes);
    if (hasNamedSizes && size !== chunk.size)
      throw refused('invalid_argument', index, `its node holds ${size} bytes, and ${chunk.size} were named`);
    const before = accepted.get(chunk.id) ?? (chunk.md5 === '' ? undefined : chunk);
    if (before !== undefined && (before.size !== size || before.md5 !== md5)) {
      throw refused('invalid_argument', index, 'it contradicts another one of the same chunk');
    }
    const nodeIds = new Set(accepted.get(chunk.id)?.nodeIds).add(copy.nodeId);
    accepted.set(chunk.id, { chunkId: chunk.id, index, size, md5, nodeIds: [...nodeIds] });
    copies.push({ chunkId: chunk.id, nodeId: copy.nodeId, size, at });
  }
  return { received: [...accepted.values()], copies };
}

const packClaimsSchema = z.object({
  node: z.string(),
  at: z.number(),
  chunks: z.array(claimsSchema.pick({ chunk: true, size: true, md5: true })).max(MAX_PACKED_FILES),
});

/** A copy that an agent has signed for in a pack; whether it was granted is to be looked up. */
export interface SignedCopy extends StoredCopy {
  readonly md5: string;
}

/**
 * The copies that receipts of packs name, by chunk. Only the signature is checked here: which node was granted a chunk is
 * known in the transaction that takes it. Codes: invalid_argument, permission_denied, unavailable, as acceptReceipts.
 */
export function signedCopies(
  receipts: readonly string[],
  nodes: NodeDirectory,
): ReadonlyMap<ChunkId, readonly SignedCopy[]> {
  const byChunk = new Map<ChunkId, SignedCopy[]>();
  for (const [at, receipt] of receipts.entries()) {
    const { node } = peekReceipt(receipt);
    const key = nodes.find(node as NodeId)?.receiptKey;
    if (key === undefined) throw refused('unavailable', at, `the key of node ${node} is not known; is it running?`);
    const result = packClaimsSchema.safeParse(signedClaims(at, receipt, key, verifyPackReceipt));
    if (!result.success) throw refused('permission_denied', at, 'its node signed something that is no receipt');
    for (const { chunk, size, md5 } of result.data.chunks) {
      const copy = { chunkId: chunk as ChunkId, nodeId: node as NodeId, size, md5, at: result.data.at };
      const copies = byChunk.get(copy.chunkId);
      if (copies === undefined) byChunk.set(copy.chunkId, [copy]);
      else copies.push(copy);
    }
  }
  return byChunk;
}

function verified(index: number, receipt: string, node: NodeId, nodes: NodeDirectory): z.infer<typeof claimsSchema> {
  const key = nodes.find(node)?.receiptKey;
  if (key === undefined) throw refused('unavailable', index, `the key of node ${node} is not known; is it running?`);
  const result = claimsSchema.safeParse(signedClaims(index, receipt, key));
  if (!result.success) throw refused('permission_denied', index, 'its node signed something that is no receipt');
  return result.data;
}

function signedClaims(
  index: number,
  receipt: string,
  key: KeyObject,
  verify: (text: string, key: KeyObject) => unknown = verifyReceipt,
): unknown {
  try {
    return verify(receipt, key);
  } catch (error) {
    throw refused('permission_denied', index, 'its signature is not that of its node', error);
  }
}

const refused = (
  code: 'invalid_argument' | 'permission_denied' | 'unavailable',
  index: number,
  why: string,
  cause?: unknown,
): NexusError =>
  new NexusError(code, `the receipt of chunk ${index} was rejected: ${why}`, { chunk: index }, { cause });
