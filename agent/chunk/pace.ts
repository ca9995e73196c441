/** Holds background work to a rate, so that repair and scrub leave the disk and the network to people. */
import type { Clock } from '../../shared/async/clock.js';

/** Shorter waits are not worth a timer; they add up and are waited for later. */
const LEAST_WAIT_MS = 5;

export class Pace {
  #spentBytes = 0;
  readonly #since: number;

  /** `rate` in bytes a second; 0: no limit. */
  constructor(
    private readonly clock: Clock,
    private readonly rate: number,
  ) {
    this.#since = clock.monotonic();
  }

  /** A promise to wait for when the rate would be exceeded otherwise. */
  spend(bytes: number): Promise<void> | undefined {
    if (this.rate === 0) return undefined;
    this.#spentBytes += bytes;
    const dueMs = (this.#spentBytes / this.rate) * 1000 - (this.clock.monotonic() - this.#since);
    return dueMs < LEAST_WAIT_MS ? undefined : this.clock.sleep(dueMs);
  }
}
