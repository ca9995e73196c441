/**
 * Every sandbox on every node, from the moment its making begins: so that a node can be left with nothing of it behind,
 * and no sandbox comes up on a node that is going.
 */
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { Sandbox, SandboxLimits, SandboxRuntime } from './sandbox/port.js';

export class Residents {
  readonly #living = new Map<NodeId, Set<Sandbox>>();
  readonly #coming = new Map<NodeId, Set<Promise<unknown>>>();

  constructor(
    private readonly runtime: SandboxRuntime,
    /** Whether sandboxes may be made there now. */
    private readonly isOpen: (node: NodeId) => boolean,
    private readonly clock: Clock,
  ) {}

  /**
   * `claim` is called with it in the turn in which it is there: a node that is drained in the next one waits for it. Codes:
   * those of the runtime; unavailable when the node is going.
   */
  async create(
    node: NodeId,
    limits: SandboxLimits,
    signal: AbortSignal,
    claim: (sandbox: Sandbox) => void = () => undefined,
  ): Promise<Sandbox> {
    this.#assertOpen(node);
    const making = this.runtime.create(node, limits, signal);
    const settled = making.catch(() => undefined);
    const coming = setOf(this.#coming, node).add(settled);
    try {
      const sandbox = await making;
      const living = setOf(this.#living, node).add(sandbox);
      void sandbox.ended.then(() => living.delete(sandbox));
      if (!this.isOpen(node)) await sandbox.destroy();
      this.#assertOpen(node);
      claim(sandbox);
      return sandbox;
    } finally {
      coming.delete(settled);
    }
  }

  /** Nodes that have any. */
  get nodes(): readonly NodeId[] {
    return [...this.#living].filter(([, sandboxes]) => sandboxes.size > 0).map(([node]) => node);
  }

  /** Sandboxes that `waitFor` selects have `graceMs` to end by themselves. Called when the node is no longer open. */
  async leave(node: NodeId, graceMs: number, waitFor: (sandbox: Sandbox) => boolean): Promise<void> {
    await Promise.all(setOf(this.#coming, node));
    const all = [...setOf(this.#living, node)];
    await this.#waitAtMost(graceMs, all.filter(waitFor));
    await Promise.all(all.map((sandbox) => sandbox.destroy()));
    this.#coming.delete(node);
    this.#living.delete(node);
  }

  async #waitAtMost(ms: number, sandboxes: readonly Sandbox[]): Promise<void> {
    if (sandboxes.length === 0 || ms <= 0) return;
    const over = new AbortController();
    const all = Promise.all(sandboxes.map((sandbox) => sandbox.ended));
    // Waits on the clock that tests can move.
    const time = this.clock.sleep(ms, over.signal).catch(() => undefined);
    await Promise.race([all, time]);
    over.abort();
  }

  #assertOpen(node: NodeId): void {
    if (!this.isOpen(node)) throw new NexusError('unavailable', 'the node went away in the meantime; run it again');
  }
}

function setOf<Item>(sets: Map<NodeId, Set<Item>>, node: NodeId): Set<Item> {
  const found = sets.get(node) ?? new Set<Item>();
  sets.set(node, found);
  return found;
}
