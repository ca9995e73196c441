/**
 * The controller's nodes: records as in the store, joined with the last messages of their agents. The copy in memory is
 * exact, because this process is the only writer; after a write of unknown outcome the record is read again. Status
 * changes go through `move`, which allows only legal transitions and appends an event.
 */
import type { Message } from '../../shared/advice/advice.js';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { AgentHeartbeat, AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';
import { HEARTBEAT_INTERVAL_MS } from '../../shared/limits.js';
import type { EventLog } from '../events/log.js';
import { plainText } from '../../shared/plain-text.js';
import { Misconduct } from './watch/misconduct.js';
import { hasUnknownOutcome, type NodePatch, type NodeRecord, type NodeStore } from '../store/port/store.js';
import { lowestFreeSlot } from '../store/port/node-rules.js';
import { assertMove, type NodeStatus } from './state.js';

/**
 * Last known facts of a node's agent. In memory only: after a restart of the controller heartbeats bring them back
 * within seconds.
 */
export interface AgentView {
  readonly instance: string;
  readonly version: string;
  readonly startedAt: number;
  readonly receiptKey: Buffer;
  /** Monotonic ms of the last heartbeat. */
  readonly heardAt: number;
  /** Until the next one, ms. */
  readonly intervalMs: number;
  readonly report: AgentReport | undefined;
}

/** `reference`: the name or id as the caller wrote it. */
export const noNodeCalled = (reference: string): NexusError =>
  new NexusError('not_found', `there is no node "${reference}"`, {}, { advice: { key: 'list-nodes' } });

type HeartbeatWaiter = (view: AgentView) => void;

export class NodeRegistry {
  readonly #records = new Map<NodeId, NodeRecord>();
  #listed: readonly NodeRecord[] | undefined;
  readonly #agents = new Map<NodeId, AgentView>();
  /** Nodes for which a write may or may not have been stored. */
  readonly #uncertain = new Set<NodeId>();
  readonly #waiters = new Map<NodeId, HeartbeatWaiter>();
  /** Slots of spares: taken on the host, by no node of the store. */
  readonly #held = new Set<number>();
  /** Slots of nodes that are being stored. */
  readonly #storing = new Set<number>();
  readonly misconduct: Misconduct;

  constructor(
    private readonly store: NodeStore,
    private readonly events: EventLog,
    private readonly clock: Clock,
  ) {
    this.misconduct = new Misconduct(events, clock);
  }

  async load(): Promise<void> {
    for (const record of await this.store.list()) this.#keep(record);
  }

  /** In order of slot. The same array until a record changes: loops ask for it many times a second. */
  list(): readonly NodeRecord[] {
    this.#listed ??= [...this.#records.values()].sort((a, b) => a.hosting.slot - b.hosting.slot);
    return this.#listed;
  }

  get(id: NodeId): NodeRecord | undefined {
    return this.#records.get(id);
  }

  /** Returns the current record. Code: not_found. */
  expect(id: NodeId): NodeRecord {
    const record = this.#records.get(id);
    if (record === undefined) throw new NexusError('not_found', `node ${id} is gone`);
    return record;
  }

  /** Finds a node by name, id or unique prefix of an id. Codes: not_found, invalid_argument (ambiguous). */
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
    const chosen: number[] = [];
    const choose = (slot: number): NodeRecord => {
      chosen.push(slot);
      this.#storing.add(slot);
      const made = make(slot);
      ({ id } = made);
      return made;
    };
    try {
      return await this.#entered(await this.#heeding(() => id, this.store.reserve(slots, choose, this.#held)));
    } finally {
      for (const slot of chosen) this.#storing.delete(slot);
    }
  }

  /** Stores a node in the slot that was held for it, which is then its own. Code: already_exists (name). */
  async adopt(record: NodeRecord): Promise<NodeRecord> {
    await this.#heeding(() => record.id, this.store.insert(record));
    const entered = this.#entered(record);
    this.#held.delete(record.hosting.slot);
    return await entered;
  }

  async #entered(record: NodeRecord): Promise<NodeRecord> {
    this.#keep(record);
    await this.events.append('node.creating', record.name, `node ${record.name} is Creating`);
    return record;
  }

  /** Number of slots that neither a node nor a spare has. 0 while it is not known which nodes are stored. */
  freeSlots(slots: number): number {
    return this.#uncertain.size > 0 ? 0 : slots - this.#usedSlots().length;
  }

  /** Holds the lowest free slot for a spare until it is adopted or `letSlotGo`. Code: resource_exhausted. */
  holdSlot(slots: number): number {
    const slot = lowestFreeSlot(this.#usedSlots(), slots);
    this.#held.add(slot);
    return slot;
  }

  letSlotGo(slot: number): void {
    this.#held.delete(slot);
  }

  #usedSlots(): number[] {
    const ofNodes = this.list().map(({ hosting }) => hosting.slot);
    return [...new Set([...ofNodes, ...this.#held, ...this.#storing])];
  }

  async update(id: NodeId, patch: NodePatch): Promise<NodeRecord> {
    const record = await this.#heeding(() => id, this.store.update(id, patch));
    this.#keep(record);
    return record;
  }

  /** Code: failed_precondition when the transition is not legal. */
  async move(id: NodeId, status: NodeStatus, said: Message, patch: NodePatch = {}): Promise<NodeRecord> {
    const reason = plainText(this.events.words(said));
    const before = this.expect(id);
    if (before.status !== status) assertMove(before.name, before.status, status);
    const after = await this.update(id, { ...patch, status, statusReason: reason });
    const state = status.toLowerCase() as Lowercase<NodeStatus>;
    await this.events.append(`node.${state}`, after.name, reason === '' ? `node ${after.name} is ${status}` : reason);
    return after;
  }

  async remove(id: NodeId): Promise<void> {
    await this.#heeding(() => id, this.store.remove(id));
    this.forget(id);
  }

  /** Forgets a node in memory only: for the end of an instance, whose store is removed as a whole. */
  forget(id: NodeId): void {
    this.#drop(id);
    this.misconduct.forget(id);
    this.forgetAgent(id);
  }

  #keep(record: NodeRecord): void {
    this.#records.set(record.id, record);
    this.#listed = undefined;
  }

  #drop(id: NodeId): void {
    this.#records.delete(id);
    this.#listed = undefined;
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

  /** Reads nodes again after writes of unknown outcome, once the store answers. Returns the nodes that it has read. */
  async readUncertain(): Promise<readonly NodeId[]> {
    const read: NodeId[] = [];
    for (const id of [...this.#uncertain]) {
      const record = await this.store.get(id);
      if (record === undefined) this.#drop(id);
      else this.#keep(record);
      this.#uncertain.delete(id);
      read.push(id);
    }
    return read;
  }

  agent(id: NodeId): AgentView | undefined {
    return this.#agents.get(id);
  }

  /** Call before a node is started: the state of an earlier agent no longer counts. */
  forgetAgent(id: NodeId): void {
    this.#agents.delete(id);
    this.misconduct.beginAnew(id);
  }

  /**
   * Counts a node adopted after a restart as heard now; it becomes Suspect if its agent then stays silent. A heartbeat
   * that has already arrived is kept. Returns whether there was one. `intervalMs`: what its heartbeats probably have.
   */
  assumeHeard(id: NodeId, intervalMs: number): boolean {
    if (this.#agents.has(id)) return true;
    const record = this.expect(id);
    this.#agents.set(id, {
      instance: '',
      version: '',
      startedAt: 0,
      receiptKey: Buffer.from(record.receiptKey, 'base64'),
      heardAt: this.clock.monotonic(),
      intervalMs,
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
      intervalMs: heartbeat.intervalMs === 0 ? HEARTBEAT_INTERVAL_MS : heartbeat.intervalMs,
      report: heartbeat.report ?? (isSame ? before.report : undefined),
    };
    this.#agents.set(id, view);
    this.#waiters.get(id)?.(view);
  }

  /** Ignores reports before the first heartbeat, which carries the same. */
  reported(id: NodeId, report: AgentReport): void {
    const view = this.#agents.get(id);
    if (view !== undefined) this.#agents.set(id, { ...view, report });
  }

  /**
   * Restarts the count of each agent's silence at `settleMs` from now, as the bus was away. Nodes that were Lost before
   * stay so until heard: nothing may be placed on them.
   */
  forgiveSilence(settleMs = 0): void {
    const from = this.clock.monotonic() + settleMs;
    for (const [id, view] of this.#agents) {
      const isLost = this.#records.get(id)?.status === 'Lost';
      if (view.heardAt < from && !isLost) this.#agents.set(id, { ...view, heardAt: from });
    }
  }

  /** Calls `waiter` with the node's next heartbeat, in place of an earlier one; returns a function that cancels it. */
  onNextHeartbeat(id: NodeId, waiter: HeartbeatWaiter): () => void {
    this.#waiters.set(id, waiter);
    return () => {
      // The wait of a start that failed ends a moment later, when the next start may wait already.
      if (this.#waiters.get(id) === waiter) this.#waiters.delete(id);
    };
  }
}
