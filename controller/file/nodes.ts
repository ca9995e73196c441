/** The nodes as places for chunks: what the file side needs to know of them, and what it asks of their agents. */
import type { KeyObject } from 'node:crypto';
import type { NexusError } from '../../shared/errors.js';
import type { ChunkOrigin } from '../../shared/chunk-token.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';

export interface StorageNode {
  readonly id: NodeId;
  readonly name: string;
  /** host:port of the agent's data server. */
  readonly address: string;
  /** Running and not cordoned: may be given new chunks. */
  readonly schedulable: boolean;
  /** Why a running one may not, for people; undefined: it may, or is not running, or is cordoned. */
  readonly unfit?: string;
  /** Its agent is expected to answer, and its volume can be read. */
  readonly readable: boolean;
  /** Its agent is expected to answer, and to be able to delete. */
  readonly writable: boolean;
  /**
   * here: its copies count (also while it is stopped on purpose); leaving: it is being drained; away: it is Lost, has
   * failed, is being removed, or its volume can't be read.
   */
  readonly standing: 'here' | 'leaving' | 'away';
  /** As the agent last reported; 0 before its first report. */
  readonly capacityBytes: number;
  /** As the agent last reported, and no more than the host's disk can still give; 0 before its first report. */
  readonly freeBytes: number;
  /** The host's disk has less left for the volume than the volume promises. */
  readonly isBoundByHost?: boolean;
  /** Infinity: its file system does not count them, or its agent does not tell. */
  readonly freeInodes: number;
  /** When, by the agent's clock, ms since the epoch. */
  readonly reportedAt: number;
  /** Checks its receipts; unknown before its first heartbeat. */
  readonly receiptKey: KeyObject | undefined;
}

/** What the catalogue says that a chunk is. */
export interface ChunkContent {
  readonly chunkId: ChunkId;
  readonly size: number;
  readonly md5: string;
}

export interface FetchOrder extends ChunkContent {
  readonly sources: readonly { readonly nodeId: NodeId; readonly address: string; readonly token: string }[];
  /** Bytes a second; 0: no limit. */
  readonly rate: number;
  /** What the node is to remember of it; undefined: its file has gone. */
  readonly of: ChunkOrigin | undefined;
}

export interface FetchOutcome {
  /** What the agent signed; undefined: the copy could not be made. */
  readonly receipt: string | undefined;
  readonly failure: NexusError | undefined;
  /** Sources that had other bytes than they should. */
  readonly corruptNodeIds: readonly NodeId[];
}

export interface ReplicaFinding {
  readonly chunkId: ChunkId;
  /** unreadable: a read failed, and what is there is not known. */
  readonly state: 'missing' | 'corrupt' | 'unreadable';
  /** What is there instead, for people. */
  readonly found: string;
}

export interface ChunkList {
  /** In order. */
  readonly ids: readonly ChunkId[];
  /** Of these, what can't be whole. */
  readonly damaged: readonly ChunkId[];
}

export interface NodeDirectory {
  /** In order of slot. */
  snapshot(): readonly StorageNode[];
  find(id: NodeId): StorageNode | undefined;
  /** The chunks that the agent confirmed as gone. Codes: unavailable, deadline_exceeded. */
  deleteChunks(node: NodeId, chunkIds: readonly ChunkId[]): Promise<readonly ChunkId[]>;
  /** Makes the node's agent copy a chunk from others. Never rejects. */
  fetchChunk(node: NodeId, order: FetchOrder): Promise<FetchOutcome>;
  /** The chunks that are not whole on the node, read at `rate` bytes a second (0: no limit). Codes: as deleteChunks. */
  verifyChunks(node: NodeId, chunks: readonly ChunkContent[], rate: number): Promise<readonly ReplicaFinding[]>;
  /** What lies on the node's volume, in order of id above `after`; at most `limit`. Codes: as deleteChunks. */
  listChunks(node: NodeId, after: string, limit: number): Promise<ChunkList>;
}
