/**
 * Sums over all files and copies, for figures that anybody may request at any time. If counting takes long, the result
 * is cached: counting never takes more than a twentieth of this process's time.
 */
import type { Clock } from '../../shared/async/clock.js';
import type { ReplicaState, StorageTotals, Store } from '../store/port/store.js';

/** Cache lifetime as a multiple of the time that counting took. */
const KEPT_FACTOR = 20;

export interface Counts {
  readonly totals: StorageTotals;
  readonly copies: ReadonlyMap<ReplicaState, number>;
}

export class StorageCounts {
  #counting: Promise<Counts> | undefined;
  #keptUntil = -Infinity;

  constructor(
    private readonly store: Pick<Store, 'files' | 'replicas'>,
    private readonly clock: Clock,
  ) {}

  /** Callers during a count share its result. */
  read(): Promise<Counts> {
    if (this.#counting === undefined || this.clock.monotonic() > this.#keptUntil) this.#counting = this.#count();
    return this.#counting;
  }

  async #count(): Promise<Counts> {
    this.#keptUntil = Infinity;
    const startedAt = this.clock.monotonic();
    try {
      const totals = await this.store.files.totals();
      return { totals, copies: await this.store.replicas.countStates() };
    } finally {
      const now = this.clock.monotonic();
      this.#keptUntil = now + KEPT_FACTOR * (now - startedAt);
    }
  }
}
