/** Records of the store, as its ports hand them over. */
import type { ChunkId, FileId, NodeId, UploadId } from '../../../shared/ids.js';
import type { HostingRecord } from '../../hosting/record.js';
import type { NodeStatus } from '../../node/state.js';

export interface NodeRecord {
  readonly id: NodeId;
  readonly name: string;
  readonly ip: string;
  readonly status: NodeStatus;
  readonly statusReason: string;
  /** State that the operator requested last; reconcile works towards it. */
  readonly desired: 'running' | 'stopped' | 'removed';
  readonly memoryMb: number;
  readonly cpuWeight: number;
  readonly pidsLimit: number;
  readonly storageBytes: number;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly cordoned: boolean;
  /** Its copies are being moved to other nodes. */
  readonly draining: boolean;
  /** Raw Ed25519 key of the agent's receipts, base64, from its last heartbeat; empty before the first. */
  readonly receiptKey: string;
  /** How and where the node lives on its host. A patch replaces it as a whole. */
  readonly hosting: HostingRecord;
  /** ms since the epoch. */
  readonly createdAt: number;
}

export type NodePatch = Partial<Omit<NodeRecord, 'id' | 'createdAt' | 'ip' | 'name'>>;

/**
 * retired: the entry is gone, and readers that had begun still use the content. partial: rebuilt from the volumes, with
 * some chunks missing.
 */
export type FileStatus = 'uploading' | 'ready' | 'partial' | 'retired';
/** raw: a file without an entry; fs: the content of an entry of the virtual file system. */
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
  /** Its chunks have the sizes that the sender named; otherwise all but the last are full. */
  readonly explicitSizes: boolean;
}

export interface UploadRecord {
  readonly id: UploadId;
  readonly fileId: FileId;
  readonly replicas: number;
  readonly expectedSize: number;
  /** Number of chunks granted so far; the next grant's index. */
  readonly granted: number;
  readonly expiresAt: number;
  /** Bytes of the owner's quota reserved for it. */
  readonly reserved: number;
  /**
   * Place of the entry that the commit makes. `parentId` is empty for raw files, and for others until they have a
   * place.
   */
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
  /** 0 until the chunk's receipt has arrived, unless the sender named it. */
  readonly size: number;
  /** Offset of the chunk's first byte in the file. */
  readonly offset: number;
  /** Empty until the chunk's receipt has arrived. */
  readonly md5: string;
  readonly replicas: readonly ReplicaRecord[];
}
