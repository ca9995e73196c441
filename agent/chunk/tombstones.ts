/**
 * Chunks deleted so recently that a write token for them may still be valid: writing one again would bring back what
 * the catalogue has forgotten. Kept in memory only: what a restart lets through is an orphan that the controller's
 * reconcile removes.
 */
import type { Clock } from '../../shared/clock.js';
import type { ChunkId } from '../../shared/ids.js';
import { CHUNK_TOKEN_TTL_MS } from '../../shared/limits.js';

/** About 2 MB; more deletions in one token's lifetime drop the oldest. */
const MAX_TOMBSTONES = 20_000;

export class Tombstones {
  /** Expiry by chunk. Insertion order is order of expiry, since all live equally long. */
  readonly #expiry = new Map<ChunkId, number>();

  constructor(
    private readonly clock: Clock,
    private readonly bound = MAX_TOMBSTONES,
  ) {}

  add(chunk: ChunkId): void {
    this.#expiry.delete(chunk);
    this.#expiry.set(chunk, this.clock.monotonic() + CHUNK_TOKEN_TTL_MS);
    this.#prune();
  }

  drop(chunk: ChunkId): void {
    this.#expiry.delete(chunk);
  }

  has(chunk: ChunkId): boolean {
    const expiry = this.#expiry.get(chunk);
    return expiry !== undefined && this.clock.monotonic() < expiry;
  }

  #prune(): void {
    const now = this.clock.monotonic();
    for (const [chunk, expiry] of this.#expiry) {
      if (now < expiry && this.#expiry.size <= this.bound) return;
      this.#expiry.delete(chunk);
    }
  }
}
