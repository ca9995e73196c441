/**
 * How often agents send heartbeats. Ends of agents are known from the bus at once; heartbeats are for those that hang.
 * Each wakes an agent, nats-server and this process, about 1.5 ms of the processor together: a thousand nodes with a
 * heartbeat a second would take a machine of two cores for themselves.
 */
import type { Clock } from '../../../shared/async/clock.js';
import { AgentCommand } from '../../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../../shared/ids.js';
import { HEARTBEAT_INTERVAL_MS, SLOWEST_HEARTBEAT_MS } from '../../../shared/limits.js';
import type { AgentBus } from '../../bus/port.js';

const STEPS = [
  { mostNodes: 50, intervalMs: HEARTBEAT_INTERVAL_MS },
  { mostNodes: 200, intervalMs: 2500 },
  { mostNodes: Infinity, intervalMs: SLOWEST_HEARTBEAT_MS },
] as const;
/** Nodes that come and go at a step must not change the interval of all others each time. */
const BACK_AT = 0.8;
const ANSWER_MS = 5000;
/** An agent that refuses is asked again, but not at each heartbeat. */
const ASK_AGAIN_MS = 30_000;

/** The interval in ms for so many nodes, where it is `nowMs`. Pure. */
export function intervalFor(nodes: number, nowMs: number): number {
  const wanted = (count: number): number => STEPS.find(({ mostNodes }) => count <= mostNodes)?.intervalMs ?? nowMs;
  return wanted(nodes) < nowMs ? Math.min(nowMs, wanted(nodes / BACK_AT)) : wanted(nodes);
}

export class Pace {
  /** undefined: the nodes have not been counted yet. */
  #intervalMs: number | undefined;
  /** Monotonic ms before which an agent is not asked again. */
  readonly #asked = new Map<NodeId, number>();

  constructor(private readonly deps: { readonly bus: Pick<AgentBus, 'request'>; readonly clock: Clock }) {}

  /** `nodes`: all whose agents are expected to send heartbeats. */
  setNodes(nodes: ReadonlySet<NodeId>): void {
    this.#intervalMs = intervalFor(nodes.size, this.#intervalMs ?? HEARTBEAT_INTERVAL_MS);
    for (const id of this.#asked.keys()) if (!nodes.has(id)) this.#asked.delete(id);
  }

  /** Asks the agent for another interval where it is due. `intervalMs`: what its heartbeat says; 0: it knows of none. */
  heard(node: NodeId, intervalMs: number): void {
    if (intervalMs === 0 || this.#intervalMs === undefined || intervalMs === this.#intervalMs) {
      this.#asked.delete(node);
      return;
    }
    const now = this.deps.clock.monotonic();
    if (now < (this.#asked.get(node) ?? 0)) return;
    this.#asked.set(node, now + ASK_AGAIN_MS);
    const command = AgentCommand.fromPartial({ pace: { intervalMs: this.#intervalMs } });
    // One that does not answer goes on as before, and is judged by what its heartbeats say.
    this.deps.bus.request(node, command, ANSWER_MS).catch(() => undefined);
  }
}
