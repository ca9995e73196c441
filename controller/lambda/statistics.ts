/** Statistics of lambda since the controller started: counters, and a latency histogram for Prometheus. */
import { Histogram, type LatencyBucket } from '../metrics/histogram.js';

export const REASONS = ['exit', 'timeout', 'out_of_memory', 'output_limit', 'cancelled'] as const;
export type Reason = (typeof REASONS)[number];

/** Seconds: from the few milliseconds of a warm start up to the longest code. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, Number.POSITIVE_INFINITY] as const;

export class LambdaStatistics {
  readonly invocations = new Map<Reason, number>(REASONS.map((reason) => [reason, 0]));
  readonly #latency = new Histogram(BOUNDS);
  poolHits = 0;
  poolMisses = 0;
  refused = 0;

  /** `latencyMs`: from the request to the result, waiting included. */
  note(reason: Reason, latencyMs: number): void {
    this.invocations.set(reason, (this.invocations.get(reason) ?? 0) + 1);
    this.#latency.note(latencyMs / 1000);
  }

  get latency(): readonly LatencyBucket[] {
    return this.#latency.buckets;
  }

  get latencySumSeconds(): number {
    return this.#latency.sumSeconds;
  }
}
