/**
 * How much room the nodes have for new chunks. An agent reports its free bytes every few seconds; what was promised to
 * uploads since, and what was stored after the report was made, comes off here, so that fast uploads are not promised
 * room that is gone. Kept in memory only: after a restart the next reports are right again.
 */
import type { ChunkId, NodeId } from '../../shared/ids.js';
import type { StorageNode } from './nodes.js';
import type { Candidate } from './plan.js';

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
    for (const { nodeId, size } of this.#stored.values()) {
      unreported.set(nodeId, (unreported.get(nodeId) ?? 0) + size);
    }
    return nodes.map(({ id, name, schedulable, freeBytes }) => ({
      id,
      name,
      schedulable,
      freeBytes: freeBytes - (promised.get(id) ?? 0) - (unreported.get(id) ?? 0),
    }));
  }

  #forgetReported(nodes: readonly StorageNode[], nowMs: number): void {
    const reportedAt = new Map(nodes.map((node) => [node.id, node.reportedAt]));
    for (const [key, copy] of this.#stored) {
      const isReported = copy.at <= (reportedAt.get(copy.nodeId) ?? Infinity);
      if (isReported || nowMs - copy.at > REMEMBERED_MS) this.#stored.delete(key);
    }
  }
}
