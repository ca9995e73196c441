/** Lambda as the rest of the controller sees it: invocations, the pool's upkeep, and nodes that go. */
import type { Clock } from '../../shared/async/clock.js';
import { abilitiesOf } from '../../shared/config/runtimes.js';
import type { Settings } from '../../shared/config/settings.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import type { Logger } from '../../shared/log.js';
import type { NodeGuests } from '../node/context.js';
import type { NodeRegistry } from '../node/registry.js';
import type { NodeRecord } from '../store/port/store.js';
import type { PoolBounds } from './demand.js';
import { Dispatcher } from './dispatcher.js';
import { Invoker } from './invoke.js';
import { ASSUMED_AGENT_BYTES } from './limits.js';
import { NodeMemory } from './node-memory.js';
import type { LambdaNode } from './plan.js';
import { WarmPool } from './pool.js';
import { Residents } from './residents.js';
import type { SandboxRuntime } from './sandbox/port.js';
import { LambdaStatistics } from './statistics.js';

export interface LambdaDeps {
  readonly runtime: SandboxRuntime;
  readonly registry: NodeRegistry;
  readonly settings: Settings;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Lambda implements NodeGuests {
  readonly statistics = new LambdaStatistics();
  readonly dispatcher: Dispatcher;
  readonly pool: WarmPool;
  readonly invoker: Invoker;
  readonly #residents: Residents;
  readonly #memory: NodeMemory;
  #refill: () => void = () => undefined;

  constructor(private readonly deps: LambdaDeps) {
    const { runtime, registry, settings, clock, log } = deps;
    const isOpen = (id: NodeId): boolean => registry.get(id)?.status === 'Running';
    this.#residents = new Residents(runtime, isOpen, clock);
    this.#memory = new NodeMemory(runtime, clock);
    this.pool = new WarmPool({
      residents: this.#residents,
      bounds: poolBounds(settings),
      memoryBytes: settings.lambdaMemoryMb * MIB,
      clock,
      log,
    });
    this.dispatcher = new Dispatcher({
      clock,
      nodes: () => registry.list().map((node) => this.#view(node)),
      concurrency: settings.lambdaConcurrency,
      userConcurrency: settings.lambdaUserConcurrency,
      queueLength: settings.lambdaQueueLength,
      queueTimeoutMs: settings.lambdaQueueTimeoutMs,
    });
    this.invoker = new Invoker({
      residents: this.#residents,
      dispatcher: this.dispatcher,
      pool: this.pool,
      statistics: this.statistics,
      outputBytes: settings.lambdaOutputKb * 1024,
      clock,
      refill: () => {
        this.#refill();
      },
    });
  }

  /** Removes what an earlier controller has left. Before the nodes are reconciled. */
  async prepare(): Promise<void> {
    await this.deps.runtime.prepare(this.deps.registry.list().map(({ id }) => id));
  }

  /** `kick`: makes the loop that calls `tick` do so soon. */
  onRefill(kick: () => void): void {
    this.#refill = kick;
  }

  async tick(signal: AbortSignal): Promise<void> {
    await this.#memory.tick(this.#residents.nodes);
    await this.pool.tick(this.dispatcher.snapshot(), signal);
    // A node may have come or become free of something else: nobody tells of that.
    this.dispatcher.kick();
  }

  async leave(node: NodeId, graceMs: number): Promise<void> {
    await this.#residents.leave(node, graceMs, (one) => this.invoker.isRunning(one));
  }

  async close(): Promise<void> {
    this.pool.close();
    await this.deps.runtime.destroy();
  }

  #view(node: NodeRecord): Omit<LambdaNode, 'reservedBytes' | 'running'> {
    const report = this.deps.registry.agent(node.id)?.report;
    const reported = report === undefined ? ASSUMED_AGENT_BYTES : Number(report.memoryWorkingSetBytes);
    return {
      id: node.id,
      name: node.name,
      unfit: unfitness(node),
      memoryBytes: node.memoryMb * MIB,
      usedBytes: this.#memory.besidesSandboxes(node.id) ?? reported,
      warm: this.pool.ready(node.id),
    };
  }
}

/** Without containers there are no sandboxes, and whoever asks for one is told so. */
function poolBounds({ runtime, lambdaPoolMin: least, lambdaPoolMax }: Settings): PoolBounds {
  return !abilitiesOf(runtime).sandboxes ? { least: 0, most: 0 } : { least, most: Math.max(least, lambdaPoolMax) };
}

function unfitness({ status, cordoned, draining }: NodeRecord): string | undefined {
  if (status !== 'Running') return `is ${status}`;
  if (draining) return 'is being drained';
  return cordoned ? 'is cordoned' : undefined;
}
