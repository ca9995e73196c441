/** The nodes as places for chunks: what the file side needs to know of them, and the one thing it asks of them. */
import type { KeyObject } from 'node:crypto';
import type { ChunkId, NodeId } from '../../shared/ids.js';

export interface StorageNode {
  readonly id: NodeId;
  readonly name: string;
  /** host:port of the agent's data server. */
  readonly address: string;
  /** Running and not cordoned: may be given new chunks. */
  readonly schedulable: boolean;
  /** Its agent is expected to answer. */
  readonly readable: boolean;
  /** As the agent last reported; 0 before its first report. */
  readonly freeBytes: number;
  /** When, by the agent's clock, ms since the epoch. */
  readonly reportedAt: number;
  /** Checks its receipts; unknown before its first heartbeat. */
  readonly receiptKey: KeyObject | undefined;
}

export interface NodeDirectory {
  /** In order of slot. */
  snapshot(): readonly StorageNode[];
  find(id: NodeId): StorageNode | undefined;
  /** The chunks that the agent confirmed as gone. Codes: unavailable, deadline_exceeded. */
  deleteChunks(node: NodeId, chunkIds: readonly ChunkId[]): Promise<readonly ChunkId[]>;
}
