/**
 * Agents that send impossible data: counted per node, reported as an event now and then, and shown as a warning while
 * it continues. The data is dropped; nothing else happens to the node, whose agent may only be out of date.
 */
import { notice, type Notice } from '../../../shared/advice/advice.js';
import type { Clock } from '../../../shared/async/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import { plainText } from '../../../shared/plain-text.js';
import type { EventLog } from '../../events/log.js';

/** Minimum between two events of a node: an agent may send nonsense thousands of times per second. */
const EVENT_PERIOD_MS = 60_000;
/** The warning ends after this time without further nonsense. */
const WARNED_FOR_MS = 60_000;

interface Record {
  rejected: number;
  fault: string;
  lastAt: number;
  toldAt: number;
}

export class Misconduct {
  readonly #records = new Map<NodeId, Record>();

  constructor(
    private readonly events: EventLog,
    private readonly clock: Clock,
  ) {}

  note(node: NodeId, name: string, fault: string): void {
    const now = this.clock.monotonic();
    const record = this.#records.get(node) ?? { rejected: 0, fault: '', lastAt: now, toldAt: -Infinity };
    this.#records.set(node, record);
    record.rejected += 1;
    record.fault = plainText(fault);
    record.lastAt = now;
    if (now - record.toldAt < EVENT_PERIOD_MS) return;
    record.toldAt = now;
    void this.events.append(
      'node.misconduct',
      name,
      `messages of the agent of node ${name} are rejected: ${record.fault}`,
    );
  }

  /** Messages and answers rejected since this controller started. */
  rejected(node: NodeId): number {
    return this.#records.get(node)?.rejected ?? 0;
  }

  warning(node: NodeId, name: string): Notice[] {
    const record = this.#records.get(node);
    if (record === undefined || this.clock.monotonic() - record.lastAt > WARNED_FOR_MS) return [];
    const problem = `node ${name} misbehaves: ${record.rejected} message(s) of its agent were rejected, the last because ${record.fault}`;
    return [notice(problem, { key: 'replace-agent', node: name })];
  }

  /** Call for a new agent: faults of the earlier one stay counted, but are no longer warned of. */
  beginAnew(node: NodeId): void {
    const record = this.#records.get(node);
    if (record !== undefined) record.lastAt = -Infinity;
  }

  forget(node: NodeId): void {
    this.#records.delete(node);
  }
}
