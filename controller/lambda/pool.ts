/**
 * Prewarmed sandboxes: each waits on a node, has run nothing and serves one invocation. Refilled in the background, a few
 * at a time; a node that has no room for one is left alone.
 */
import type { Clock } from '../../shared/async/clock.js';
import { toNexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { Logger } from '../../shared/log.js';
import { Demand, type PoolBounds } from './demand.js';
import { REFILL_CONCURRENCY } from './limits.js';
import { planPool, type LambdaNode } from './plan.js';
import type { Residents } from './residents.js';
import type { Sandbox } from './sandbox/port.js';

export interface PoolOptions {
  readonly residents: Residents;
  readonly bounds: PoolBounds;
  readonly memoryBytes: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** After a sandbox could not be made: whatever is wrong is not mended by trying at once. */
const PAUSE_AFTER_FAILURE_MS = 5000;

export class WarmPool {
  readonly #idle = new Map<NodeId, Set<Sandbox>>();
  readonly #coming = new Map<NodeId, number>();
  readonly #demand: Demand;
  #pausedUntil = 0;
  #isClosed = false;

  constructor(private readonly options: PoolOptions) {
    this.#demand = new Demand(options.bounds);
  }

  ready(node?: NodeId): number {
    if (node !== undefined) return this.#idle.get(node)?.size ?? 0;
    return [...this.#idle.values()].reduce((sum, sandboxes) => sum + sandboxes.size, 0);
  }

  get target(): number {
    return this.#demand.target(this.options.clock.monotonic());
  }

  /** Undefined: none is there, and the caller has to have one made. */
  take(node: NodeId): Sandbox | undefined {
    this.#demand.note(this.options.clock.monotonic());
    const sandboxes = this.#idle.get(node);
    const [sandbox] = sandboxes ?? [];
    if (sandbox !== undefined) sandboxes?.delete(sandbox);
    return sandbox;
  }

  /** Brings the pool towards its target; never rejects. */
  async tick(nodes: readonly LambdaNode[], signal: AbortSignal): Promise<void> {
    const wanted = planPool(nodes, this.target, this.options.memoryBytes);
    const surplus = [...this.#idle].flatMap(([node, sandboxes]) => [...sandboxes].slice(wanted.get(node) ?? 0));
    for (const sandbox of surplus) this.#drop(sandbox);
    if (this.options.clock.monotonic() < this.#pausedUntil) return;
    const missing = [...wanted].flatMap(([node, count]) => {
      const there = this.ready(node) + (this.#coming.get(node) ?? 0);
      return Array.from({ length: Math.max(0, count - there) }, () => node);
    });
    const workers = Array.from({ length: REFILL_CONCURRENCY }, async () => {
      for (let node = missing.shift(); node !== undefined; node = missing.shift()) await this.#add(node, signal);
    });
    await Promise.all(workers);
  }

  /** For the end: whoever takes down the sandboxes has to know that no more come. */
  close(): void {
    this.#isClosed = true;
  }

  async #add(node: NodeId, signal: AbortSignal): Promise<void> {
    if (this.#isClosed || signal.aborted) return;
    this.#coming.set(node, (this.#coming.get(node) ?? 0) + 1);
    try {
      const sandbox = await this.options.residents.create(node, { memoryBytes: this.options.memoryBytes }, signal);
      const sandboxes = this.#idle.get(node) ?? new Set();
      this.#idle.set(node, sandboxes.add(sandbox));
      // One that dies while it waits must not be given to anybody.
      void sandbox.ended.then(() => sandboxes.delete(sandbox));
    } catch (error) {
      const { code, message } = toNexusError(error);
      if (code !== 'cancelled') this.options.log.warn({ node, code }, `the sandbox pool can't be filled: ${message}`);
      this.#pausedUntil = this.options.clock.monotonic() + PAUSE_AFTER_FAILURE_MS;
    } finally {
      this.#coming.set(node, (this.#coming.get(node) ?? 1) - 1);
    }
  }

  #drop(sandbox: Sandbox): void {
    this.#idle.get(sandbox.nodeId)?.delete(sandbox);
    void sandbox.destroy();
  }
}
