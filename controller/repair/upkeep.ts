/** The upkeep of stored files as one thing for the edge and the daemon: repair, inventory, scrub, drain, rebalance. */
import type { NodeId } from '../../shared/ids.js';
import type { NodeService } from '../node/service.js';
import type { RepairDeps } from './deps.js';
import { followDrain, type DrainProgress } from './drain.js';
import { Inventory } from './inventory.js';
import { Rebalance } from './rebalance.js';
import { Repair } from './repair.js';
import { Scrub } from './scrub.js';
import { Suspicions } from './suspicions.js';

export interface Kicks {
  /** Runs the loop of repair soon. */
  readonly repair: () => void;
  /** Runs the loop that deletes copies soon. */
  readonly deletion: () => void;
}

/** Time for invocations on a drained node to end; most do so within seconds. */
const DRAIN_GRACE_MS = 30_000;

export class Upkeep {
  readonly suspicions: Suspicions;
  readonly repair: Repair;
  readonly inventory: Inventory;
  readonly scrub: Scrub;
  readonly rebalance: Rebalance;

  constructor(
    readonly deps: RepairDeps,
    private readonly kicks: Kicks,
  ) {
    this.suspicions = new Suspicions(deps, () => {
      this.wake();
    });
    this.repair = new Repair(deps, this.suspicions, kicks.deletion);
    this.inventory = new Inventory(deps, this.suspicions);
    this.scrub = new Scrub(deps, this.suspicions);
    this.rebalance = new Rebalance(deps, this.repair, kicks.deletion);
  }

  /** Something happened that may have changed how many copies there are. */
  wake(): void {
    this.repair.wake();
    this.kicks.repair();
  }

  /** A node came or went: told by the event log. */
  nodeChanged(type: string, name: string): void {
    if (type === 'node.running') {
      const node = this.deps.nodes.snapshot().find((candidate) => candidate.name === name);
      if (node !== undefined) this.inventory.wake(node.id);
    }
    this.wake();
  }

  /** Moves everything off a node. Codes: those of the look-up, of the move to draining, and of following it. */
  async drain(
    nodes: Pick<NodeService, 'startDrain' | 'context'>,
    reference: string,
    signal: AbortSignal,
    tell: (progress: DrainProgress) => Promise<void>,
  ): Promise<void> {
    const { id, name } = await nodes.startDrain(reference);
    await nodes.context.guests.leave(id, DRAIN_GRACE_MS);
    await this.followDrain(id, signal, tell);
    await nodes.context.events.append('node.drained', name, `node ${name} has no copies any more`);
  }

  followDrain(node: NodeId, signal: AbortSignal, tell: (progress: DrainProgress) => Promise<void>): Promise<void> {
    this.wake();
    return followDrain(this.deps, this.repair, node, signal, tell);
  }
}
