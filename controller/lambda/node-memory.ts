/**
 * Memory that a node's processes use outside of sandboxes, measured on nodes with sandboxes. The agent's report
 * includes them and is seconds old, so that a node would look full after its sandboxes have ended. Elsewhere the report
 * is right.
 */
import type { Clock } from '../../shared/async/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { SandboxRuntime } from './sandbox/port.js';

/** Least time between measurements: ticks may come with every invocation, and one reads a few files per node. */
const PERIOD_MS = 500;
/** How long measuring goes on after a node's last sandbox: two reports of its agent. */
const KEPT_MS = 10_000;

interface Watched {
  readonly residentAtMs: number;
  readonly bytes: number | undefined;
}

export class NodeMemory {
  readonly #watched = new Map<NodeId, Watched>();
  #measuredAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly runtime: Pick<SandboxRuntime, 'memoryBesides'>,
    private readonly clock: Clock,
  ) {}

  /** Undefined: not measured; use the agent's report. */
  besidesSandboxes(node: NodeId): number | undefined {
    return this.#watched.get(node)?.bytes;
  }

  /** `nodes`: those that have sandboxes now. Never rejects. */
  async tick(nodes: readonly NodeId[]): Promise<void> {
    const now = this.clock.monotonic();
    if (now - this.#measuredAtMs < PERIOD_MS) return;
    this.#measuredAtMs = now;
    for (const node of nodes) this.#watched.set(node, { bytes: this.besidesSandboxes(node), residentAtMs: now });
    for (const [node, { residentAtMs }] of this.#watched) {
      if (now - residentAtMs > KEPT_MS) this.#watched.delete(node);
      else this.#watched.set(node, { residentAtMs, bytes: await this.runtime.memoryBesides(node) });
    }
  }
}
