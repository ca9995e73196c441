/**
 * Uploads: open, grant, commit or abort. Grants are on disk before a token leaves, so that every copy an agent may
 * write is known and can be deleted; the file appears with the commit's transaction and not before.
 */
import { Mutex } from 'async-mutex';
import { peekReceipt, verifyReceipt } from '../../shared/chunk-token.js';
import { NexusError } from '../../shared/errors.js';
import { newChunkId, newFileId, newUploadId, type ChunkId, type NodeId, type UploadId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { ChunkRecord, FileRecord, ReceivedChunk, UploadRecord } from '../store/port.js';
import { noSuchUpload } from '../store/file-rules.js';
import type { FileDeps } from './deps.js';
import type { StorageNode } from './nodes.js';
import { assertRoomForFile, planPlacement, type Candidate } from './plan.js';
import { writeTargets, type ChunkTarget } from './tokens.js';

export interface ChunkGrant {
  readonly index: number;
  readonly chunkId: ChunkId;
  readonly targets: readonly ChunkTarget[];
}

export interface GrantRequest {
  readonly count: number;
  readonly retry: readonly { readonly index: number; readonly failedNodeIds: readonly string[] }[];
  readonly receipts: readonly ClaimedReceipt[];
}

export interface ClaimedReceipt {
  readonly index: number;
  readonly receipt: string;
}

interface Move {
  readonly chunk: ChunkRecord;
  readonly from: readonly NodeId[];
  readonly to: readonly NodeId[];
}

export class Uploads {
  #cursor = 0;
  /** Placement and its record are one step: two uploads must not be promised the same room. */
  readonly #placing = new Mutex();

  constructor(private readonly deps: FileDeps) {}

  /** Codes: failed_precondition, resource_exhausted. */
  async open(request: {
    name: string;
    replicas: number;
    expectedSize: number;
    owner: string;
  }): Promise<{ upload: UploadRecord; file: FileRecord }> {
    const { clock, settings, store } = this.deps;
    const replicas = request.replicas === 0 ? settings.defaultReplicas : request.replicas;
    assertRoomForFile(await this.#candidates(), replicas, Math.max(1, request.expectedSize));
    const now = clock.now();
    const { name, owner, expectedSize } = request;
    const file: FileRecord = {
      id: newFileId(),
      name,
      owner,
      size: 0,
      chunksCount: 0,
      replicas,
      status: 'uploading',
      createdAt: now,
    };
    const upload: UploadRecord = {
      id: newUploadId(),
      fileId: file.id,
      replicas,
      expectedSize,
      granted: 0,
      expiresAt: now + settings.uploadTtlMs,
    };
    await store.openUpload(file, upload);
    return { upload, file };
  }

  /** Codes: not_found, invalid_argument (a receipt), failed_precondition, resource_exhausted. */
  grant(id: UploadId, request: GrantRequest): Promise<ChunkGrant[]> {
    return this.#placing.runExclusive(async () => {
      const { store, clock, settings } = this.deps;
      const upload = await this.#expect(id);
      const received = await this.#received(upload, request.receipts);
      const candidates = await this.#candidates();
      const moves = await this.#planMoves(upload, request.retry, candidates);
      const plan = planPlacement({
        nodes: candidates,
        cursor: this.#cursor,
        chunks: request.count,
        replicas: upload.replicas,
      });
      const placed = plan.nodeIds.map((nodeIds, at) => ({ id: newChunkId(), index: upload.granted + at, nodeIds }));
      const moved = moves.map(({ chunk, from, to }) => ({ chunkId: chunk.id, from, to }));
      await store.recordGrants(id, { received, moved, placed, expiresAt: clock.now() + settings.uploadTtlMs });
      this.#cursor = plan.cursor;
      return [
        ...moves.map(({ chunk, to }) => this.#grantOf(chunk.index, chunk.id, to)),
        ...placed.map((chunk) => this.#grantOf(chunk.index, chunk.id, chunk.nodeIds)),
      ];
    });
  }

  /** Codes: not_found, invalid_argument, failed_precondition. */
  async commit(
    id: UploadId,
    request: { size: number; chunksCount: number; receipts: readonly ClaimedReceipt[] },
  ): Promise<FileRecord> {
    const upload = await this.#expect(id);
    const received = await this.#received(upload, request.receipts);
    const { size, chunksCount } = request;
    return await this.deps.store.commitUpload(id, { received, size, chunksCount });
  }

  async #expect(id: UploadId): Promise<UploadRecord> {
    const upload = await this.deps.store.getUpload(id);
    if (upload === undefined || upload.expiresAt <= this.deps.clock.now()) throw noSuchUpload(id);
    return upload;
  }

  async #candidates(): Promise<Candidate[]> {
    const promised = await this.deps.store.writingBytes();
    return this.deps.nodes.snapshot().map(({ id, name, schedulable, freeBytes }) => ({
      id,
      name,
      schedulable,
      freeBytes: freeBytes - (promised.get(id) ?? 0),
    }));
  }

  #grantOf(index: number, chunkId: ChunkId, nodeIds: readonly NodeId[]): ChunkGrant {
    const nodes = nodeIds.map((id) => this.deps.nodes.find(id)).filter((node) => node !== undefined);
    return { index, chunkId, targets: writeTargets(this.deps, chunkId, nodes) };
  }

  /** A chunk whose sending failed goes to nodes that it is not on yet; all its copies are placed anew. */
  async #planMoves(upload: UploadRecord, retry: GrantRequest['retry'], nodes: readonly Candidate[]): Promise<Move[]> {
    const chunks = await this.deps.store.chunksAt(
      upload.fileId,
      retry.map((entry) => entry.index),
    );
    return retry.map(({ index, failedNodeIds }) => {
      const chunk = chunks.find((candidate) => candidate.index === index);
      if (chunk === undefined) throw new NexusError('invalid_argument', `chunk ${index} was never granted`);
      const from = chunk.replicas.map((replica) => replica.nodeId);
      const without = new Set<NodeId>([...from, ...(failedNodeIds as NodeId[])]);
      const plan = planPlacement({ nodes, cursor: this.#cursor, chunks: 1, replicas: upload.replicas, without });
      this.#cursor += 1;
      return { chunk, from, to: plan.nodeIds[0] ?? [] };
    });
  }

  /** Receipts are believed only with the signature of a node that was granted this very chunk. */
  async #received(upload: UploadRecord, receipts: readonly ClaimedReceipt[]): Promise<ReceivedChunk[]> {
    const indexes = [...new Set(receipts.map((claim) => claim.index))];
    const chunks = new Map(
      (await this.deps.store.chunksAt(upload.fileId, indexes)).map((chunk) => [chunk.index, chunk]),
    );
    const byChunk = new Map<ChunkId, ReceivedChunk>();
    for (const { index, receipt } of receipts) {
      const chunk = chunks.get(index);
      const { size, md5, node } = this.#checked(index, receipt, chunk);
      const before = byChunk.get(chunk?.id ?? ('' as ChunkId));
      if (before !== undefined && (before.size !== size || before.md5 !== md5)) {
        throw new NexusError('invalid_argument', `the receipts of chunk ${index} differ`, { chunk: index });
      }
      if (chunk !== undefined)
        byChunk.set(chunk.id, { chunkId: chunk.id, size, md5, nodeIds: [...(before?.nodeIds ?? []), node] });
    }
    return [...byChunk.values()];
  }

  #checked(
    index: number,
    receipt: string,
    chunk: ChunkRecord | undefined,
  ): { size: number; md5: string; node: NodeId } {
    const peeked = peekReceipt(receipt);
    const node: StorageNode | undefined = this.deps.nodes.find(peeked.node as NodeId);
    const isPlaced = chunk?.replicas.some((replica) => replica.nodeId === peeked.node) === true;
    if (chunk === undefined || peeked.chunk !== chunk.id || !isPlaced || node?.receiptKey === undefined) {
      throw new NexusError(
        'invalid_argument',
        `the receipt of chunk ${index} is not for a chunk and node of this upload`,
        { chunk: index },
      );
    }
    const claims = verifyReceipt(receipt, node.receiptKey);
    if (!(claims.size >= 0 && claims.size <= CHUNK_SIZE_BYTES)) {
      throw new NexusError('invalid_argument', `the receipt of chunk ${index} has an impossible size`, {
        chunk: index,
      });
    }
    return { size: claims.size, md5: claims.md5, node: node.id };
  }
}
