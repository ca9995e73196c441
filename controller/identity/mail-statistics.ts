/**
 * Counts mail for status, metrics and events: to its user, a code that does not arrive looks like a wrong address.
 * Outsiders choose the addresses, so failures name neither these nor their domains, and cause one event per period.
 */
import { notice, type Notice } from '../../shared/advice/advice.js';
import type { Clock } from '../../shared/async/clock.js';

export interface MailEvents {
  append(type: string, subject: string, message: string): Promise<void>;
}

/** Age up to which status warns of failures. */
const WARNED_MS = 10 * 60_000;
/** Least time between two events. */
const EVENT_PERIOD_MS = 60_000;
/** Failures whose times are kept; more would not change the warning. */
const MAX_KEPT = 1000;

export class MailStatistics {
  sent = 0;
  failed = 0;
  /** Monotonic times of the latest failures. */
  readonly #failures: number[] = [];
  #lastProblem = '';
  /** True if a mail was sent after the last failure. */
  #hasSentSince = false;
  #nextEventAt = 0;
  #untold = 0;

  constructor(
    private readonly destination: string,
    private readonly clock: Pick<Clock, 'monotonic'>,
    private readonly events: MailEvents | undefined,
  ) {}

  noteSent(): void {
    this.sent += 1;
    this.#hasSentSince = true;
  }

  /** `problem` holds no address and no text of the mail. */
  noteFailed(problem: string): void {
    const now = this.clock.monotonic();
    this.failed += 1;
    this.#hasSentSince = false;
    this.#untold += 1;
    this.#lastProblem = problem;
    this.#failures.push(now);
    if (this.#failures.length > MAX_KEPT) this.#failures.shift();
    if (this.#nextEventAt > now) return;
    this.#nextEventAt = now + EVENT_PERIOD_MS;
    const many = this.#untold === 1 ? 'a mail' : `${this.#untold} mails`;
    this.#untold = 0;
    void this.events?.append('mail.failed', 'mail', `${many} could not be sent: ${problem}`);
  }

  /** For status: recent failures of mail, and what to do. */
  get warnings(): readonly Notice[] {
    const from = this.clock.monotonic() - WARNED_MS;
    const lately = this.#failures.filter((at) => at >= from).length;
    if (lately === 0) return [];
    const how = `${lately} mail(s) could not be sent in the last ten minutes, the last one because: ${this.#lastProblem}`;
    if (this.#hasSentSince)
      return [notice(`${how}; later mail was sent, so the cause may be that mail alone`, { key: 'see-events' })];
    const check = `mail goes to ${this.destination}: check that server and the smtp settings, which are read at a start`;
    return [notice(`${how}; ${check}`, { key: 'restart-cluster' })];
  }
}
