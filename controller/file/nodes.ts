/** Nodes as places for chunks: what the file side needs to know of them, and the orders that their agents take. */
import type { KeyObject } from 'node:crypto';
import type { NexusError } from '../../shared/errors.js';
import type { ChunkOrigin } from '../../shared/chunk-token.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';

export interface StorageNode {
  readonly id: NodeId;
  readonly name: string;
  /** host:port of the agent's data server. */
  readonly address: string;
  /** May be given new chunks: running, not cordoned or draining, and with a volume that takes them. */
  readonly schedulable: boolean;
  /** Why the volume of a node that is otherwise schedulable takes no chunks, for people; undefined: any other case. */
  readonly unfit?: string;
  /** The agent is expected to answer, and the volume can be read. */
  readonly readable: boolean;
  /** The agent is expected to answer, and to be able to delete. */
  readonly writable: boolean;
  /**
   * here: its copies count (also while it is stopped on purpose); leaving: it is being drained; away: it is Lost, has
   * failed, is being removed, or its volume can't be read.
   */
  readonly standing: 'here' | 'leaving' | 'away';
  /** Last reported by the agent; 0 before its first report. */
  readonly capacityBytes: number;
  /** Last reported by the agent, but at most what the host's disk can still give; 0 before the first report. */
  readonly freeBytes: number;
  /** The host's disk has less left for the volume than the volume promises. */
  readonly isBoundByHost?: boolean;
  /** Infinity: the file system does not count inodes, or the agent does not report them. */
  readonly freeInodes: number;
  /** Time of that report by the agent's clock, ms since the epoch. */
  readonly reportedAt: number;
  /** Checks the agent's receipts; undefined before its first heartbeat. */
  readonly receiptKey: KeyObject | undefined;
}

/** A chunk's content according to the catalogue. */
export interface ChunkContent {
  readonly chunkId: ChunkId;
  readonly size: number;
  readonly md5: string;
}

export interface FetchOrder extends ChunkContent {
  readonly sources: readonly { readonly nodeId: NodeId; readonly address: string; readonly token: string }[];
  /** Bytes a second; 0: no limit. */
  readonly rate: number;
  /** Stored beside the chunk by the agent; undefined: the chunk's file is gone. */
  readonly of: ChunkOrigin | undefined;
}

export interface FetchOutcome {
  /** Signed by the agent; undefined: the copy could not be made. */
  readonly receipt: string | undefined;
  readonly failure: NexusError | undefined;
  /** Sources whose bytes differed from the expected ones. */
  readonly corruptNodeIds: readonly NodeId[];
}

export interface ReplicaFinding {
  readonly chunkId: ChunkId;
  /** unreadable: a read failed, so that the content is not known. */
  readonly state: 'missing' | 'corrupt' | 'unreadable';
  /** Describes what is there instead, for people. */
  readonly found: string;
}

export interface ChunkList {
  /** In ascending order. */
  readonly ids: readonly ChunkId[];
  /** Those of `ids` that can't be whole. */
  readonly damaged: readonly ChunkId[];
}

export interface NodeDirectory {
  /** Nodes in order of slot. */
  snapshot(): readonly StorageNode[];
  /** As `snapshot`, without the work of judging each. */
  ids(): readonly NodeId[];
  find(id: NodeId): StorageNode | undefined;
  /** Returns the chunks that the agent confirmed as gone. Codes: unavailable, deadline_exceeded. */
  deleteChunks(node: NodeId, chunkIds: readonly ChunkId[]): Promise<readonly ChunkId[]>;
  /** Makes the node's agent copy a chunk from others. Never rejects. */
  fetchChunk(node: NodeId, order: FetchOrder): Promise<FetchOutcome>;
  /** Returns chunks that are not whole, reading at `rate` bytes a second (0: no limit). Codes: as deleteChunks. */
  verifyChunks(node: NodeId, chunks: readonly ChunkContent[], rate: number): Promise<readonly ReplicaFinding[]>;
  /** Chunks on the node's volume in order of id, above `after`; at most `limit`. Codes: as deleteChunks. */
  listChunks(node: NodeId, after: string, limit: number): Promise<ChunkList>;
}
