/**
 * gRPC calls since the controller started, by method and by how they ended. Only methods that are registered get here,
 * so the number of series is bounded.
 */
import { Histogram } from './histogram.js';

/** Seconds: from a look into memory to a node's creation; streams last until their end. */
const BOUNDS = [
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  10,
  60,
  Number.POSITIVE_INFINITY,
] as const;

export interface MethodStatistics {
  readonly calls: Map<string, number>;
  readonly latency: Histogram;
}

export class CallStatistics {
  readonly byMethod = new Map<string, MethodStatistics>();

  /** `path`: e.g. /nexus.v1.NodeService/CreateNode. `code`: ok, or of an error. */
  note(path: string, code: string, seconds: number): void {
    const method = path.replace(/^\/nexus\.v1\./, '');
    const known = this.byMethod.get(method) ?? { calls: new Map<string, number>(), latency: new Histogram(BOUNDS) };
    this.byMethod.set(method, known);
    known.calls.set(code, (known.calls.get(code) ?? 0) + 1);
    known.latency.note(seconds);
  }
}
