/** Watches the agents: their messages into the registry, their ends and their silence into states. */
import { notice } from '../../../shared/advice/advice.js';
import { until } from '../../../shared/async/wait.js';
import type { AgentHeartbeat, AgentReport } from '../../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../../shared/ids.js';
import type { BusListener } from '../../bus/port.js';
import { isAlive } from '../../host/process-identity.js';
import { identityOf } from '../../hosting/record.js';
import { checkHeartbeat, checkReport } from './agent-messages.js';
import { howItEnded } from './ending.js';
import { limitsAt, ownDelay, verdict } from './liveness.js';
import { Pace } from './pace.js';
import type { NodeService } from '../service.js';
import { isListening } from '../state.js';

export const WATCH_PERIOD_MS = 500;
/** How long to poll the process after the bus reported a closed connection; then heartbeats decide. */
const DEATH_WATCH_MS = 250;
const DEATH_POLL_MS = 2;
/**
 * A node heard from this recently counts as alive. The bus reports a closed connection at once, and checking the
 * processes of a hundred nodes twice a second took a sixth of this process's load at rest.
 */
const HEARD_LATELY_INTERVALS = 1.5;

export class NodeWatch implements BusListener {
  #lastTick: number;
  #busIsAvailable = true;
  readonly #failing = new Set<NodeId>();
  readonly #judging = new Set<NodeId>();

  readonly #pace: Pace;

  constructor(private readonly service: NodeService) {
    this.#pace = new Pace(service.context);
    this.#lastTick = service.context.clock.monotonic();
  }

  heartbeat(node: NodeId, heartbeat: AgentHeartbeat): void {
    const { registry, metrics, clock } = this.service.context;
    const heard = checkHeartbeat(node, heartbeat, clock.now());
    if (heard.fault !== undefined) {
      this.#reject(node, heard.fault);
      return;
    }
    const { report } = heard.message;
    const told = report === undefined ? undefined : checkReport(report, clock.now());
    if (told?.fault !== undefined) this.#reject(node, told.fault);
    registry.heard(node, { ...heard.message, report: told?.message });
    const record = registry.get(node);
    if (record === undefined) return;
    if (told?.message !== undefined) metrics.add(node, told.message);
    this.#pace.heard(node, heard.message.intervalMs);
    if (record.status === 'Suspect' || record.status === 'Lost') this.#settle(this.#judge(node));
  }

  report(node: NodeId, report: AgentReport): void {
    const { registry, metrics, clock } = this.service.context;
    const { message, fault } = checkReport(report, clock.now());
    if (fault !== undefined) {
      this.#reject(node, fault);
      return;
    }
    registry.reported(node, message);
    if (registry.get(node) !== undefined) metrics.add(node, message);
  }

  garbled(node: NodeId, what: string): void {
    this.#reject(node, what);
  }

  disconnected(node: NodeId): void {
    this.#settle(this.#watchDeath(node));
  }

  available(isAvailable: boolean): void {
    this.#busIsAvailable = isAvailable;
    if (isAvailable) this.service.context.registry.forgiveSilence();
  }

  /** Called every WATCH_PERIOD_MS by the daemon. */
  async tick(): Promise<void> {
    const { clock, registry, metrics, causes } = this.service.context;
    metrics.keepOnly(new Set(registry.list().map(({ id }) => id)));
    const now = clock.monotonic();
    const late = ownDelay(now - this.#lastTick, WATCH_PERIOD_MS);
    this.#lastTick = now;
    const listening = registry.list().filter(({ status }) => isListening(status));
    this.#pace.setNodes(new Set(listening.map(({ id }) => id)));
    for (const node of listening) {
      const { heardAt = -Infinity, intervalMs = 0 } = registry.agent(node.id) ?? {};
      const silentForMs = now - heardAt;
      if (silentForMs > HEARD_LATELY_INTERVALS * intervalMs && !isAlive(identityOf(node))) await this.#fail(node.id);
      else if (this.#busIsAvailable && causes.silenceCounts && late === 0) await this.#judge(node.id);
    }
  }

  /** Judges each node once at a time: heartbeats that arrive in a burst must not each report the same change. */
  async #judge(id: NodeId): Promise<void> {
    if (this.#judging.has(id)) return;
    this.#judging.add(id);
    try {
      await this.#judgeOnce(id);
    } finally {
      this.#judging.delete(id);
    }
  }

  async #judgeOnce(id: NodeId): Promise<void> {
    const { registry, clock } = this.service.context;
    const node = registry.get(id);
    const agent = registry.agent(id);
    if (node === undefined || agent === undefined || !isListening(node.status)) return;
    const silentForMs = clock.monotonic() - agent.heardAt;
    const limits = limitsAt(agent.intervalMs, this.service.context.hostings.of(node).liveness);
    const due = verdict(node.status, silentForMs, limits);
    if (due === undefined) return;
    const silence = `the agent has been silent for ${(silentForMs / 1000).toFixed(1)} s`;
    await registry.move(id, due, due === 'Running' ? '' : silence);
  }

  /** Polls, since the advisory arrives some milliseconds before or after the end of the container's last process. */
  async #watchDeath(id: NodeId): Promise<void> {
    const { registry, clock } = this.service.context;
    const isSettled = async (): Promise<boolean> => {
      const node = registry.get(id);
      if (node === undefined || !isListening(node.status)) return true;
      if (isAlive(identityOf(node))) return false;
      await this.#fail(id);
      return true;
    };
    await until(isSettled, { everyMs: DEATH_POLL_MS, withinMs: DEATH_WATCH_MS, clock });
  }

  async #fail(id: NodeId): Promise<void> {
    if (this.#failing.has(id)) return;
    this.#failing.add(id);
    try {
      const { registry, hostings } = this.service.context;
      const node = registry.get(id);
      if (node === undefined) return;
      const { runtime, logs, logOf } = hostings.of(node);
      const { text, wasKilled } = await howItEnded(logs, logOf(node));
      const outOfMemory = wasKilled && (await runtime.wasOutOfMemory(id));
      const reason = outOfMemory
        ? notice('its container ended: out of memory', { key: 'add-memory', node: node.name })
        : `its container ended: ${text}`;
      await this.service.fail(id, reason);
    } finally {
      this.#failing.delete(id);
    }
  }

  #reject(id: NodeId, fault: string): void {
    const { registry } = this.service.context;
    const node = registry.get(id);
    if (node !== undefined) registry.misconduct.note(id, node.name, fault);
  }

  #settle(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.service.context.log.error({ err: error }, 'watching a node failed; the next tick tries again');
    });
  }
}
