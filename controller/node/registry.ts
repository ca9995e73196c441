/**
 * The controller's nodes: records as in the store (this process is their only writer, so a copy in memory is exact, but
 * for a write whose outcome is unknown: what that was about is read again)
 * joined with what their agents were last heard saying. Status changes go through `move`, which keeps to the legal
 * transitions and tells the event log.
 */
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { AgentHeartbeat, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import type { EventLog } from '../events/log.js';
import { plainText } from '../../shared/plain-text.js';
import { Misconduct } from './watch/misconduct.js';
import { hasUnknownOutcome, type NodePatch, type NodeRecord, type NodeStore } from '../store/port/store.js';
import { assertMove, type NodeStatus } from './state.js';

/** What is known of a node's agent; all of it is gone when the controller restarts, and heard again within seconds. */
export interface AgentView {
  readonly instance: string;
  readonly version: string;
  readonly startedAt: number;
  readonly receiptKey: Buffer;
  /** Monotonic ms of the last heartbeat. */
  readonly heardAt: number;
  readonly report: AgentReport | undefined;
}

/** `reference`: as somebody named it. */
export const noNodeCalled = (reference: string): NexusError =>
  new NexusError('not_found', `there is no node "${reference}"; nexus node ls lists them`);

type HeartbeatWaiter = (view: AgentView) => void;

export class NodeRegistry {
  readonly #records = new Map<NodeId, NodeRecord>();
  readonly #agents = new Map<NodeId, AgentView>();
  /** A write about them may or may not have been stored. */
  readonly #uncertain = new Set<NodeId>();
  readonly #waiters = new Map<NodeId, HeartbeatWaiter>();
  readonly misconduct: Misconduct;

  constructor(
    private readonly store: NodeStore,
    private readonly events: EventLog,
    private readonly clock: Clock,
  ) {
    this.misconduct = new Misconduct(events, clock);
  }

  async load(): Promise<void> {
    for (const record of await this.store.list()) this.#records.set(record.id, record);
  }

  list(): NodeRecord[] {
    return [...this.#records.values()].sort((a, b) => a.hosting.slot - b.hosting.slot);
  }

  get(id: NodeId): NodeRecord | undefined {
    return this.#records.get(id);
  }

  /** The record as it is now. Code: not_found. */
  expect(id: NodeId): NodeRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw new NexusError('not_found', `node ${id} is gone`);
    return record;
  }

  /** By name, id or unique prefix of an id. Codes: not_found, invalid_argument (ambiguous). */
  resolve(reference: string): NodeRecord {
    const all = this.list();
    const named = all.find((record) => record.name === reference);
    if (named !== undefined) return named;
    const matching = reference === '' ? [] : all.filter((record) => record.id.startsWith(reference));
    if (matching.length > 1) {
      const names = matching.map((record) => record.name);
      throw new NexusError(
        'invalid_argument',
        `"${reference}" could be any of ${names.join(', ')}; give more of the id`,
      );
    }
    const [found] = matching;
    if (found === undefined) throw noNodeCalled(reference);
    return found;
  }

  async reserve(slots: number, make: (slot: number) => NodeRecord): Promise<NodeRecord> {
    let id: NodeId | undefined;
    const making = this.store.reserve(slots, (slot) => {
      const made = make(slot);
      ({ id } = made);
      return made;
    });
    const record = await this.#heeding(() => id, making);
    this.#records.set(record.id, record);
    await this.events.append('node.creating', record.name, `node ${record.name} is Creating`);
    return record;
  }

  async update(id: NodeId, patch: NodePatch): Promise<NodeRecord> {
    const record = await this.#heeding(() => id, this.store.update(id, patch));
    this.#records.set(id, record);
    return record;
  }

  /** Code: failed_precondition when the transition is not legal. */
  async move(id: NodeId, status: NodeStatus, said: string, patch: NodePatch = {}): Promise<NodeRecord> {
    const reason = plainText(said);
    const before = this.expect(id);
    if (before.status !== status) assertMove(before.name, before.status, status);
    const after = await this.update(id, { ...patch, status, statusReason: reason });
    const type = `node.${status.toLowerCase()}`;
    await this.events.append(type, after.name, reason === '' ? `node ${after.name} is ${status}` : reason);
    return after;
  }

  async remove(id: NodeId): Promise<void> {
    await this.#heeding(() => id, this.store.remove(id));
    this.forget(id);
  }

  /** In memory alone: for the end of an instance, whose store goes as a whole. */
  forget(id: NodeId): void {
    this.#records.delete(id);
    this.misconduct.forget(id);
    this.forgetAgent(id);
  }

  async #heeding<T>(id: () => NodeId | undefined, write: Promise<T>): Promise<T> {
    try {
      return await write;
    } catch (error) {
      const about = id();
      if (about !== undefined && hasUnknownOutcome(error)) this.#uncertain.add(about);
      throw error;
    }
  }

  /** Reads again what a write of unknown outcome was about, as soon as the store answers; the nodes it has read. */
  async readUncertain(): Promise<readonly NodeId[]> {
    const read: NodeId[] = [];
    for (const id of [...this.#uncertain]) {
      const record = await this.store.get(id);
      if (record === undefined) this.#records.delete(id);
      else this.#records.set(id, record);
      this.#uncertain.delete(id);
      read.push(id);
    }
    return read;
  }

  agent(id: NodeId): AgentView | undefined {
    return this.#agents.get(id);
  }

  /** For a node that is about to be started: what an earlier agent said counts no more. */
  forgetAgent(id: NodeId): void {
    this.#agents.delete(id);
    this.misconduct.beginAnew(id);
  }

  /**
   * A node adopted after a restart counts as heard now, and becomes Suspect if it then stays silent. What its agent has
   * said already stays. Returns whether it has.
   */
  assumeHeard(id: NodeId): boolean {
    if (this.#agents.has(id)) return true;
    const record = this.expect(id);
    this.#agents.set(id, {
      instance: '',
      version: '',
      startedAt: 0,
      receiptKey: Buffer.from(record.receiptKey, 'base64'),
      heardAt: this.clock.monotonic(),
      report: undefined,
    });
    return false;
  }

  heard(id: NodeId, heartbeat: AgentHeartbeat): void {
    if (!this.#records.has(id)) return;
    const before = this.#agents.get(id);
    const isSame = before?.instance === heartbeat.agentInstance;
    const view: AgentView = {
      instance: heartbeat.agentInstance,
      version: heartbeat.version,
      startedAt: Number(heartbeat.startedAtMs),
      receiptKey: Buffer.from(heartbeat.receiptPublicKey),
      heardAt: this.clock.monotonic(),
      report: heartbeat.report ?? (isSame ? before.report : undefined),
    };
    this.#agents.set(id, view);
    this.#waiters.get(id)?.(view);
  }

  /** Before the first heartbeat it counts for nothing: that one tells the same. */
  reported(id: NodeId, report: AgentReport): void {
    const view = this.#agents.get(id);
    if (view !== undefined) this.#agents.set(id, { ...view, report });
  }

  /**
   * The silence of an agent is not its fault while the bus was away: it counts from `settleMs` from now on. A node that
   * was Lost while the bus still answered has to be heard itself: nothing is to be placed on it before.
   */
  forgiveSilence(settleMs = 0): void {
    const from = this.clock.monotonic() + settleMs;
    for (const [id, view] of this.#agents) {
      const isLost = this.#records.get(id)?.status === 'Lost';
      if (view.heardAt < from && !isLost) this.#agents.set(id, { ...view, heardAt: from });
    }
  }

  /** Calls once with the next heartbeat of a node; returns how to stop waiting. */
  onNextHeartbeat(id: NodeId, waiter: HeartbeatWaiter): () => void {
    this.#waiters.set(id, waiter);
    return () => {
      this.#waiters.delete(id);
    };
  }
}
