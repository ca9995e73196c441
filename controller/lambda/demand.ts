/**
 * How many prewarmed sandboxes to hold: as many as were taken in the busiest moment of the last half minute, within
 * bounds. So a burst finds what the one before it needed, and a quiet cluster goes back to the least.
 */
export interface PoolBounds {
  readonly least: number;
  readonly most: number;
}

/** About what it takes to make up for a few taken ones. */
const WINDOW_MS = 250;
const KEPT_MS = 30_000;

export class Demand {
  readonly #taken = new Map<number, number>();

  constructor(private readonly bounds: PoolBounds) {}

  /** One was asked for, whether or not it was there. */
  note(nowMs: number): void {
    const window = Math.floor(nowMs / WINDOW_MS);
    this.#taken.set(window, (this.#taken.get(window) ?? 0) + 1);
  }

  target(nowMs: number): number {
    const oldest = Math.floor((nowMs - KEPT_MS) / WINDOW_MS);
    let busiest = 0;
    for (const [window, count] of this.#taken) {
      if (window < oldest) this.#taken.delete(window);
      else busiest = Math.max(busiest, count);
    }
    return Math.min(this.bounds.most, Math.max(this.bounds.least, busiest));
  }
}
