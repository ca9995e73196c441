/** Durations as a Prometheus histogram: counts of all that took no longer than each bound. */
export interface LatencyBucket {
  readonly le: number;
  /** Durations of at most `le` seconds (cumulative). */
  readonly count: number;
}

export class Histogram {
  readonly #counts: number[];
  sumSeconds = 0;

  /** `bounds`: seconds, rising, the last one infinite. */
  constructor(private readonly bounds: readonly number[]) {
    this.#counts = bounds.map(() => 0);
  }

  note(seconds: number): void {
    this.sumSeconds += seconds;
    this.bounds.forEach((bound, at) => {
      if (seconds <= bound) this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    });
  }

  get buckets(): readonly LatencyBucket[] {
    return this.bounds.map((le, at) => ({ le, count: this.#counts[at] ?? 0 }));
  }
}
