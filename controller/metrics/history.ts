/** The agents' reports of the last hour, in memory: lost with the controller, and bounded for every node. */
import type { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import { REPORT_INTERVAL_MS } from '../../shared/limits.js';
import { sampleOf, type Sample } from './sample.js';
import { Series } from './series.js';

const HISTORY_MS = 60 * 60 * 1000;
const SAMPLES_PER_NODE = HISTORY_MS / REPORT_INTERVAL_MS;

type Listener = (node: NodeId, sample: Sample) => void;

export class MetricsHistory {
  readonly #series = new Map<NodeId, Series>();
  readonly #listeners = new Set<Listener>();

  /** Ignores a report that is no newer than the last one. */
  add(node: NodeId, report: AgentReport): void {
    const series = this.#series.get(node) ?? new Series(SAMPLES_PER_NODE);
    const before = series.latest();
    if (before !== undefined && Number(report.atMs) <= before.atMs) return;
    const sample = sampleOf(before, report);
    series.add(sample);
    this.#series.set(node, series);
    for (const listener of this.#listeners) listener(node, sample);
  }

  latest(node: NodeId): Sample | undefined {
    return this.#series.get(node)?.latest();
  }

  /** Oldest first. */
  since(node: NodeId, sinceMs: number): Sample[] {
    return this.#series.get(node)?.since(sinceMs) ?? [];
  }

  /** Calls `listener` with every new sample; returns a function that stops it. A listener must not throw, nor wait. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Drops the history of all other nodes. */
  keepOnly(nodes: ReadonlySet<NodeId>): void {
    for (const node of this.#series.keys()) if (!nodes.has(node)) this.#series.delete(node);
  }
}
