/**
 * The controller's persistent state. Every write is durable when its promise resolves, and all writes of one store are
 * serialized; reads may run concurrently and see committed rows only.
 *
 * Codes: already_exists (a unique name or slot is taken), not_found, aborted (an expected state has changed), and those
 * of a store that can't write at the moment: resource_exhausted (its disk is full), unavailable. A rejected write is
 * not stored, unless `hasUnknownOutcome` is true of the error.
 */
import { NexusError } from '../../../shared/errors.js';
import type { ChunkId, FileId, NodeId, UploadId } from '../../../shared/ids.js';
import type { ArchiveStore } from './archive.js';
import type { FsStore, Replacing } from './fs.js';
import type { ChunkRecord, FileRecord, NodePatch, NodeRecord, UploadPlace, UploadRecord } from './records.js';
import type { MarkStore, ReplicaStore } from './replicas.js';

export type * from './records.js';

/** Whether a rejected write may have been stored all the same: its connection broke during the commit. */
export const hasUnknownOutcome = (error: unknown): boolean =>
  error instanceof NexusError && error.details['outcome'] === 'unknown';

export interface NodeStore {
  /**
   * Inserts a node in the lowest slot below `slots` that is free and not in `held`, as that is at the time of the write.
   * Codes: already_exists (name), resource_exhausted (no slot).
   */
  reserve(slots: number, make: (slot: number) => NodeRecord, held?: ReadonlySet<number>): Promise<NodeRecord>;
  /** Inserts a node in the slot that its record names. Code: already_exists (name, slot). */
  insert(record: NodeRecord): Promise<void>;
  get(id: NodeId): Promise<NodeRecord | undefined>;
  list(): Promise<readonly NodeRecord[]>;
  /** Code: not_found. */
  update(id: NodeId, patch: NodePatch): Promise<NodeRecord>;
  /** Succeeds if there is no such node. */
  remove(id: NodeId): Promise<void>;
}

/** A copy to be deleted from its node; kept until the agent confirms. */
export interface DoomedReplica {
  readonly chunkId: ChunkId;
  readonly nodeId: NodeId;
}

export interface ReceivedChunk {
  readonly chunkId: ChunkId;
  readonly size: number;
  readonly md5: string;
  /** Index of the chunk in its file. */
  readonly index?: number;
  /** Nodes whose agents signed for the chunk; its nodes come together or one after another. */
  readonly nodeIds: readonly NodeId[];
}

export interface PlacedChunk {
  readonly id: ChunkId;
  readonly index: number;
  /** Its part of a file with explicit sizes. */
  readonly part?: { readonly offset: number; readonly size: number } | undefined;
  readonly nodeIds: readonly NodeId[];
}

export interface StorageTotals {
  readonly files: number;
  readonly chunks: number;
  readonly bytes: number;
  readonly underReplicated: number;
  readonly pendingDeletes: number;
}

/** Upload of a small file with the grant of its only chunk. */
export interface PackedUpload {
  readonly file: FileRecord;
  readonly upload: UploadRecord;
  /** Undefined: the file is empty. */
  readonly chunk: { readonly id: ChunkId; readonly nodeIds: readonly NodeId[] } | undefined;
}

/** A copy that its agent has signed for. */
export interface ClaimedCopy {
  readonly nodeId: NodeId;
  readonly size: number;
  readonly md5: string;
}

export interface CommittedUpload {
  readonly file: FileRecord;
  /** Copies of its chunk that are stored; as many as the file should have if it is empty. */
  readonly copies: number;
}

export interface FileStore {
  /**
   * Inserts the file (uploading) and its upload in one transaction, and reserves the upload's bytes of the owner's
   * quota. `limit`: the quota if the account has none of its own; 0 for no limit. Code: resource_exhausted.
   */
  openUpload(file: FileRecord, upload: UploadRecord, limit?: number): Promise<void>;
  getUpload(id: UploadId): Promise<UploadRecord | undefined>;
  /** Sets the entry that the upload's commit makes, and with it the file's name. Code: not_found. */
  placeUpload(id: UploadId, place: UploadPlace): Promise<void>;
  /**
   * In one transaction: records receipts, re-places the chunks in `moved` (their old writing replicas become
   * doomed), inserts `placed`, advances `granted` and pushes `expiresAt` on. Codes: not_found, aborted.
   */
  recordGrants(
    id: UploadId,
    change: {
      readonly received: readonly ReceivedChunk[];
      readonly moved: readonly {
        readonly chunkId: ChunkId;
        readonly from: readonly NodeId[];
        readonly to: readonly NodeId[];
      }[];
      readonly placed: readonly PlacedChunk[];
      readonly expiresAt: number;
      /** Why the new places were chosen, for people. */
      readonly reason?: string;
      /** Bytes of the owner's quota to reserve from now on; unchanged if omitted. Code: resource_exhausted. */
      readonly reserved?: number;
      /** As in openUpload. */
      readonly limit?: number;
    },
  ): Promise<void>;
  /** Chunks of an unfinished upload, by index. */
  uploadChunks(id: UploadId): Promise<readonly ChunkRecord[]>;
  /**
   * Chunks at these indexes, by index, of finished and unfinished uploads; indexes that were never granted are left
   * out.
   */
  chunksAt(id: FileId, indexes: readonly number[]): Promise<readonly ChunkRecord[]>;
  /**
   * Bytes per node that are granted and not yet received, which a placement must leave free. Counts up to the announced
   * size of an upload, or full chunks if none was announced.
   */
  writingBytes(): Promise<ReadonlyMap<NodeId, number>>;
  /**
   * Publishes the file in one transaction: records the last receipts, checks that chunks 0..chunksCount-1 all have a
   * ready replica and that their sizes add up, dooms the remaining writing replicas, sets the file ready, makes its
   * entry, settles its owner's quota and drops the upload. Codes: not_found (the upload, or the entry's folder),
   * failed_precondition (a chunk is missing, sizes differ, a folder is in its place, it has no place), already_exists
   * (a file is in its place), resource_exhausted (it exceeds its reservation, and the quota has no more).
   */
  commitUpload(
    id: UploadId,
    change: {
      readonly received: readonly ReceivedChunk[];
      readonly size: number;
      readonly chunksCount: number;
      /** As in openUpload. */
      readonly limit?: number;
    } & Partial<Replacing>,
  ): Promise<FileRecord>;
  /**
   * Opens uploads of one owner and grants their chunks, as openUpload and recordGrants do, in one transaction. Each
   * succeeds or fails by itself: returns, in order, why one was rejected.
   */
  openUploads(
    uploads: readonly PackedUpload[],
    change: { readonly reason: string; readonly limit: number },
  ): Promise<readonly (NexusError | undefined)[]>;
  /**
   * Publishes uploads of at most one chunk, as commitUpload does with the size that was announced, in one transaction.
   * `claimed` are copies that agents have signed for; those that were not granted to their node count for nothing. Each
   * upload succeeds or fails by itself: returns, in order, what became of it. Uploads of another owner, and those that
   * have expired, are absent.
   */
  commitUploads(
    ids: readonly UploadId[],
    change: {
      readonly owner: string;
      readonly claimed: ReadonlyMap<ChunkId, readonly ClaimedCopy[]>;
      readonly limit: number;
    } & Replacing,
  ): Promise<readonly (CommittedUpload | NexusError)[]>;
  /** Drops upload and file, and dooms all replicas granted to it. Succeeds if there is no such upload. */
  abortUpload(id: UploadId): Promise<void>;
  /** As abortUpload, if the upload has expired by `now`; false if it has not, or is gone. */
  expireUpload(id: UploadId, now: number): Promise<boolean>;
  /** Sets the expiry of all open uploads. */
  renewUploads(expiresAt: number): Promise<void>;
  /** Number of open uploads: one user's, and everybody's. */
  countUploads(owner: string): Promise<{ readonly own: number; readonly all: number }>;
  expiredUploads(now: number): Promise<readonly UploadId[]>;
  getFile(id: FileId): Promise<FileRecord | undefined>;
  /**
   * Ready files whose id begins with `prefix`, at most two: enough to distinguish a unique prefix from an ambiguous
   * one. Limited to one owner if given.
   */
  findFiles(prefix: string, owner?: string): Promise<readonly FileRecord[]>;
  /** Ready raw files of that name, newest first, at most `limit`; limited to one owner if given. */
  filesNamed(name: string, limit: number, owner?: string): Promise<readonly FileRecord[]>;
  /** Ready raw files in order of (createdAt, id), after the given one; limited to one owner if given. */
  listFiles(page: {
    readonly owner?: string;
    readonly limit: number;
    readonly after?: { readonly createdAt: number; readonly id: FileId };
  }): Promise<readonly FileRecord[]>;
  chunks(id: FileId, page: { readonly from: number; readonly count: number }): Promise<readonly ChunkRecord[]>;
  /**
   * Removes a raw file from the catalogue and dooms its replicas, in one transaction. Codes: not_found,
   * failed_precondition (it is the content of an entry).
   */
  removeFile(id: FileId): Promise<FileRecord>;
  /** Doomed replicas, of one node if given: otherwise those of a node that is down could hide all others. */
  doomedReplicas(limit: number, node?: NodeId): Promise<readonly DoomedReplica[]>;
  /** Nodes that have doomed replicas. */
  doomedNodes(): Promise<readonly NodeId[]>;
  /** Forgets doomed replicas whose deletion agents have confirmed, and chunk rows without replicas. */
  forgetReplicas(gone: readonly DoomedReplica[]): Promise<void>;
  /** Files with a chunk whose ready or corrupt copy on this node has no ready one on the nodes `others`. */
  filesOnlyOn(node: NodeId, others: readonly NodeId[]): Promise<readonly FileRecord[]>;
  /** Forgets all replicas on a node that is gone, whatever their state. */
  forgetNode(node: NodeId): Promise<void>;
  totals(): Promise<StorageTotals>;
}

export interface EventRecord {
  readonly id: number;
  readonly at: number;
  readonly type: string;
  readonly subject: string;
  readonly message: string;
  /** Owner of the file that the event is about; empty if it is about no user's file. */
  readonly owner: string;
}

export interface EventStore {
  /** Appends, and drops the oldest events beyond the limit. */
  append(event: Omit<EventRecord, 'id'>): Promise<EventRecord>;
  list(afterId: number): Promise<readonly EventRecord[]>;
}

export interface Store {
  readonly nodes: NodeStore;
  readonly files: FileStore;
  readonly fs: FsStore;
  readonly archive: ArchiveStore;
  readonly replicas: ReplicaStore;
  readonly marks: MarkStore;
  readonly events: EventStore;
  /** Waits for running writes; idempotent. */
  close(): Promise<void>;
  /** Closes the store and removes its content: for the end of an instance. */
  erase(): Promise<void>;
}
