/**
 * How much room the nodes have for new chunks. An agent reports its free bytes every few seconds; what was promised to
 * uploads since, and what was stored after the report was made, comes off here, so that fast uploads are not promised
 * room that is gone. Kept in memory only: after a restart the next reports are right again.
 */
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { StorageNode } from './nodes.js';
import { INODES_PER_CHUNK, type Candidate } from './plan.js';

/** A copy that its agent has signed for. */
export interface StoredCopy {
  readonly chunkId: ChunkId;
  readonly nodeId: NodeId;
  readonly size: number;
  /** By the agent's clock, as its reports, ms since the epoch. */
  readonly at: number;
}

/** A node that has not reported for so long is Lost; what it held back must not be remembered for ever. */
const REMEMBERED_MS = 60_000;

export class Room {
  readonly #stored = new Map<string, StoredCopy>();

  /** The same copy may be noted again. `nowMs` is when, by the controller's clock. */
  note(copies: readonly StoredCopy[], nowMs: number): void {
    for (const copy of copies) {
      // An agent's clock that is ahead must not hold room back for longer.
      this.#stored.set(`${copy.chunkId}@${copy.nodeId}`, { ...copy, at: Math.min(copy.at, nowMs) });
    }
  }

  /** `promised` are bytes granted and not yet received, per node. */
  candidates(nodes: readonly StorageNode[], promised: ReadonlyMap<NodeId, number>, nowMs: number): Candidate[] {
    this.#forgetReported(nodes, nowMs);
    const unreported = new Map<NodeId, number>();
    const chunks = new Map<NodeId, number>();
    for (const { nodeId, size } of this.#stored.values()) {
      unreported.set(nodeId, (unreported.get(nodeId) ?? 0) + size);
      chunks.set(nodeId, (chunks.get(nodeId) ?? 0) + 1);
    }
    return nodes.map(({ id, name, schedulable, unfit, freeBytes, freeInodes, isBoundByHost }) => {
      const promisedBytes = promised.get(id) ?? 0;
      const coming = Math.ceil(promisedBytes / CHUNK_SIZE_BYTES) + (chunks.get(id) ?? 0);
      return {
        id,
        name,
        schedulable,
        ...(unfit === undefined ? {} : { unfit }),
        freeBytes: freeBytes - promisedBytes - (unreported.get(id) ?? 0),
        freeInodes: freeInodes - coming * INODES_PER_CHUNK,
        isBoundByHost: isBoundByHost === true,
      };
    });
  }

  #forgetReported(nodes: readonly StorageNode[], nowMs: number): void {
    const reportedAt = new Map(nodes.map((node) => [node.id, node.reportedAt]));
    for (const [key, copy] of this.#stored) {
      const isReported = copy.at <= (reportedAt.get(copy.nodeId) ?? Infinity);
      if (isReported || nowMs - copy.at > REMEMBERED_MS) this.#stored.delete(key);
    }
  }
}
