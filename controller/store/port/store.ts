/**
 * What the controller keeps on disk. Every write is durable when its promise resolves, and all writes of one store
 * are serialised; reads may run beside them and see committed rows only.
 *
 * Codes: already_exists (a unique name or slot is taken), not_found, aborted (an expected state has changed), and those of
 * a store that can't write at this moment: resource_exhausted (its disk is full), unavailable. What is refused is not
 * stored, unless `hasUnknownOutcome` says so of the error.
 */
import { NexusError } from '../../../shared/errors.js';
import type { ChunkId, FileId, NodeId, UploadId } from '../../../shared/ids.js';
import type { HostingRecord } from '../../hosting/record.js';
import type { NodeStatus } from '../../node/state.js';
import type { ArchiveStore } from './archive.js';
import type { FsStore, Replacing } from './fs.js';
import type { MarkStore, ReplicaStore } from './replicas.js';

/** Whether a write that was refused may have been stored all the same: its connection broke while it was committed. */
export const hasUnknownOutcome = (error: unknown): boolean =>
  error instanceof NexusError && error.details['outcome'] === 'unknown';

export interface NodeRecord {
  readonly id: NodeId;
  readonly name: string;
  readonly ip: string;
  readonly status: NodeStatus;
  readonly statusReason: string;
  /** What the operator last asked for; reconcile works towards it. */
  readonly desired: 'running' | 'stopped' | 'removed';
  readonly memoryMb: number;
  readonly cpuWeight: number;
  readonly pidsLimit: number;
  readonly storageBytes: number;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly cordoned: boolean;
  /** Its copies are being moved elsewhere. */
  readonly draining: boolean;
  /** Raw Ed25519 key of the agent's receipts as last heard, base64; empty before the first heartbeat. */
  readonly receiptKey: string;
  /** How and where it lives on its host. A patch replaces the whole. */
  readonly hosting: HostingRecord;
  /** ms since the epoch. */
  readonly createdAt: number;
}

export type NodePatch = Partial<Omit<NodeRecord, 'id' | 'createdAt' | 'ip' | 'name'>>;

export interface NodeStore {
  /** Picks the lowest free slot below `slots` and inserts. Codes: already_exists (name), resource_exhausted (no slot). */
  reserve(slots: number, make: (slot: number) => NodeRecord): Promise<NodeRecord>;
  get(id: NodeId): Promise<NodeRecord | undefined>;
  list(): Promise<readonly NodeRecord[]>;
  /** Code: not_found. */
  update(id: NodeId, patch: NodePatch): Promise<NodeRecord>;
  /** Removing what is not there is a success. */
  remove(id: NodeId): Promise<void>;
}

/**
 * retired: its entry has gone, and readers that had begun still have it. partial: put together from what the volumes held,
 * and some of its chunks were not among it.
 */
export type FileStatus = 'uploading' | 'ready' | 'partial' | 'retired';
/** raw: a file of its own; fs: the content of an entry of the virtual file system. */
export type FileKind = 'raw' | 'fs';
export type ReplicaState = 'writing' | 'ready' | 'missing' | 'corrupt' | 'deleting';

export interface FileRecord {
  readonly id: FileId;
  readonly kind: FileKind;
  readonly name: string;
  readonly owner: string;
  readonly size: number;
  readonly chunksCount: number;
  readonly replicas: number;
  readonly status: FileStatus;
  readonly createdAt: number;
}

export interface UploadRecord {
  readonly id: UploadId;
  readonly fileId: FileId;
  readonly replicas: number;
  readonly expectedSize: number;
  /** Chunks granted so far; the next grant's index. */
  readonly granted: number;
  readonly expiresAt: number;
  /** Bytes of its owner's quota that are held for it. */
  readonly reserved: number;
  /** The entry that the commit makes; `parentId` is empty for raw files, and for others until they have a place. */
  readonly parentId: string;
  readonly entryName: string;
  readonly overwrite: boolean;
}

export type UploadPlace = Pick<UploadRecord, 'parentId' | 'entryName' | 'overwrite'>;

export interface ReplicaRecord {
  readonly nodeId: NodeId;
  readonly state: ReplicaState;
}

export interface ChunkRecord {
  readonly id: ChunkId;
  readonly fileId: FileId;
  readonly index: number;
  /** 0 and empty until its receipt is in. */
  readonly size: number;
  readonly md5: string;
  readonly replicas: readonly ReplicaRecord[];
}

/** A chunk copy that is to vanish from a node; kept until the agent confirmed. */
export interface DoomedReplica {
  readonly chunkId: ChunkId;
  readonly nodeId: NodeId;
}

export interface ReceivedChunk {
  readonly chunkId: ChunkId;
  readonly size: number;
  readonly md5: string;
  /** Of the chunk in its file. */
  readonly index?: number;
  /** Nodes whose agents signed for it; all of one chunk come together or one after another. */
  readonly nodeIds: readonly NodeId[];
}

export interface PlacedChunk {
  readonly id: ChunkId;
  readonly index: number;
  readonly nodeIds: readonly NodeId[];
}

export interface StorageTotals {
  readonly files: number;
  readonly chunks: number;
  readonly bytes: number;
  readonly underReplicated: number;
  readonly pendingDeletes: number;
}

export interface FileStore {
  /**
   * File row (uploading) and upload row in one transaction, which reserves what the upload says of its owner's quota.
   * `limit` is the owner's, 0 for none, where the account has none of its own. Code: resource_exhausted.
   */
  openUpload(file: FileRecord, upload: UploadRecord, limit?: number): Promise<void>;
  getUpload(id: UploadId): Promise<UploadRecord | undefined>;
  /** The entry that the upload's commit makes, and with it the file's name. Code: not_found. */
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
      /** What is to be held of the owner's quota from now on; unchanged when not given. Code: resource_exhausted. */
      readonly reserved?: number;
      /** As in openUpload. */
      readonly limit?: number;
    },
  ): Promise<void>;
  /** Chunks of an unfinished upload, by index. */
  uploadChunks(id: UploadId): Promise<readonly ChunkRecord[]>;
  /** The chunks at these indexes, finished or not, by index; indexes that were never granted are left out. */
  chunksAt(id: FileId, indexes: readonly number[]): Promise<readonly ChunkRecord[]>;
  /**
   * Bytes per node that are granted and not yet received: what a placement must leave free. Of an upload whose size was
   * announced no more than that; a full chunk each where it was not.
   */
  writingBytes(): Promise<ReadonlyMap<NodeId, number>>;
  /**
   * Publishes the file: records the last receipts, checks that chunks 0..chunksCount-1 all have a ready replica and
   * that their sizes add up, dooms writing leftovers, sets the file ready, makes its entry, settles its owner's quota,
   * drops the upload; all in one transaction. Codes: not_found (the upload, or the folder that the entry was to be in),
   * failed_precondition (a chunk is missing, sizes differ, a folder is in its place, it has no place), already_exists (a file is in its
   * place), resource_exhausted (it is larger than what was reserved, and the quota has no more).
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
  /** Drops upload and file, dooms every replica it was granted. What is not there is a success. */
  abortUpload(id: UploadId): Promise<void>;
  /** As abortUpload, if it has expired by `now`; false when it lives on or is gone. */
  expireUpload(id: UploadId, now: number): Promise<boolean>;
  /** Sets the expiry of all open uploads. */
  renewUploads(expiresAt: number): Promise<void>;
  /** Open uploads of one user, and of all. */
  countUploads(owner: string): Promise<{ readonly own: number; readonly all: number }>;
  expiredUploads(now: number): Promise<readonly UploadId[]>;
  getFile(id: FileId): Promise<FileRecord | undefined>;
  /**
   * Ready files whose id begins with `prefix`, at most two: enough to tell a unique prefix from an ambiguous one. Of one
   * owner when given.
   */
  findFiles(prefix: string, owner?: string): Promise<readonly FileRecord[]>;
  /** Ready raw files of that name, the newest first, at most `limit`; of one owner when given. */
  filesNamed(name: string, limit: number, owner?: string): Promise<readonly FileRecord[]>;
  /** Ready raw files in order of (createdAt, id), after the given one; of one owner when given. */
  listFiles(page: {
    readonly owner?: string;
    readonly limit: number;
    readonly after?: { readonly createdAt: number; readonly id: FileId };
  }): Promise<readonly FileRecord[]>;
  chunks(id: FileId, page: { readonly from: number; readonly count: number }): Promise<readonly ChunkRecord[]>;
  /**
   * Takes a raw file out of the catalogue and dooms its replicas, in one transaction.
   * Codes: not_found, failed_precondition (it is the content of an entry).
   */
  removeFile(id: FileId): Promise<FileRecord>;
  /** Of one node when `node` is given, so that what waits for a node that is down never hides the others'. */
  doomedReplicas(limit: number, node?: NodeId): Promise<readonly DoomedReplica[]>;
  /** Nodes that doomed replicas are on. */
  doomedNodes(): Promise<readonly NodeId[]>;
  /** Forgets doomed replicas that agents have confirmed deleted, and chunk rows that no replica is left of. */
  forgetReplicas(gone: readonly DoomedReplica[]): Promise<void>;
  /** Files that have a chunk whose ready replica on this node has no other on the nodes `others`. */
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
  /** Whose file it is about; empty: it is about nobody's. */
  readonly owner: string;
}

export interface EventStore {
  /** Appends and trims the history to its bound. */
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
  /** Closes it and removes all that it holds: for the end of an instance. */
  erase(): Promise<void>;
}
