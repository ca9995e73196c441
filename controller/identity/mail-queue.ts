/**
 * Sends mail after the call is answered: the time a mail server takes must not reveal whether there was mail to send.
 * Places are taken before any lookup, so that a full queue refuses everybody alike.
 *
 * Outsiders choose domains, and so how long a delivery takes. Domains take turns and each has few deliveries at once. A
 * slow delivery frees its place and goes on beside the others; if too many do, one of the domain with the most of them
 * is aborted. So a mail never waits for others for longer than a few times `SLOW_AFTER_MS`.
 */
import { after } from '../../shared/async/timers.js';
import { endsWithin } from '../../shared/async/wait.js';
import { Bell } from '../../shared/async/bell.js';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { MailStatistics, type MailEvents } from './mail-statistics.js';
import type { Mail, Mailer } from './port.js';

const MAX_WAITING = 200;
/** Beyond it, mail to a domain is dropped, so that others still find room in the queue. */
const MAX_WAITING_PER_DOMAIN = 50;
/** Deliveries that count as fast; most mail servers take a mail in far less than `SLOW_AFTER_MS`. */
const MAX_FAST = 8;
const SLOW_AFTER_MS = 2000;
/** Deliveries that are known to be slow. */
const MAX_SLOW = 16;
const MAX_RUNNING_PER_DOMAIN = 3;
/** A slower mail server counts as broken: the code in the mail lives for five minutes by default. */
const SEND_TIMEOUT_MS = 30_000;
/** Older mail is dropped: its recipient has asked for another code by then. */
const MAX_AGE_MS = 120_000;
/** Time to send waiting mail when the controller stops. */
const DRAIN_TIMEOUT_MS = 3000;

/** Room for one mail, released unless used. */
export interface MailPlace extends Disposable {
  post(mail: Mail): void;
}

interface Waiting {
  readonly mail: Mail;
  /** Monotonic. */
  readonly since: number;
}

interface Delivery {
  readonly domain: string;
  readonly to: string;
  readonly cancel: AbortController;
  isSlow: boolean;
}

export interface MailQueueDeps {
  readonly mailer: Mailer;
  readonly log: Logger;
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  /** Receives failures, without addresses or domains. */
  readonly events?: MailEvents;
}

export class MailQueue {
  /** By domain; the domain served last comes last. */
  readonly #lanes = new Map<string, Waiting[]>();
  /** In order of their start. */
  readonly #running = new Set<Delivery>();
  readonly #idle = new Bell();
  readonly statistics: MailStatistics;
  #placesTaken = 0;
  #isScheduled = false;
  #isStopping = false;

  constructor(private readonly deps: MailQueueDeps) {
    this.statistics = new MailStatistics(deps.mailer.destination, deps.clock, deps.events);
  }

  /** Mails that wait or are being sent. */
  get length(): number {
    return [...this.#lanes.values()].reduce((sum, lane) => sum + lane.length, this.#running.size);
  }

  /** Code: unavailable, with `retry_after_ms`: mail is requested faster than it can be sent. */
  reserve(): MailPlace {
    if (this.#placesTaken >= MAX_WAITING) {
      throw new NexusError('unavailable', 'too many mails are waiting to be sent; try again in a minute', {
        retry_after_ms: 60_000,
      });
    }
    this.#placesTaken += 1;
    let isHeld = true;
    return {
      post: (mail) => {
        if (!isHeld) throw new Error('a place takes one mail');
        isHeld = false;
        this.#post(mail);
      },
      [Symbol.dispose]: () => {
        if (isHeld) this.#placesTaken -= 1;
        isHeld = false;
      },
    };
  }

  /** Resolves when no mail waits or is being sent. */
  async idle(): Promise<void> {
    while (this.length > 0) await this.#idle.wait();
  }

  /** Sends waiting mail for up to `DRAIN_TIMEOUT_MS`; drops the rest, with a line in the log. */
  async close(): Promise<void> {
    if (await endsWithin(DRAIN_TIMEOUT_MS, this.idle())) return;
    this.#isStopping = true;
    for (const { cancel } of this.#running) cancel.abort(stopping());
    this.#startNext();
    await this.idle();
  }

  #post(mail: Mail): void {
    const domain = domainOf(mail.to);
    const lane = this.#lanes.get(domain) ?? [];
    if (lane.length >= MAX_WAITING_PER_DOMAIN) {
      this.#placesTaken -= 1;
      this.#failed(new NexusError('resource_exhausted', 'too much mail waits for one domain'));
      return;
    }
    lane.push({ mail, since: this.deps.clock.monotonic() });
    this.#lanes.set(domain, lane);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // Not within this call, which is to be answered first.
    setImmediate(() => {
      this.#isScheduled = false;
      this.#startNext();
    });
  }

  #startNext(): void {
    for (;;) {
      const next = this.#fastRunning() < MAX_FAST ? this.#takeNext() : undefined;
      if (next === undefined) break;
      if (this.#isStopping) this.#ended(undefined, stopping());
      else if (this.deps.clock.monotonic() - next.since > MAX_AGE_MS) this.#ended(undefined, tooOld());
      else void this.#deliver(next.mail);
    }
    if (this.length === 0) this.#idle.ring();
  }

  #fastRunning(): number {
    return [...this.#running].filter(({ isSlow }) => !isSlow).length;
  }

  /** Takes the next mail of the domain in turn. Mails to one mailbox keep their order: only the last code counts. */
  #takeNext(): Waiting | undefined {
    const running = [...this.#running];
    for (const [domain, lane] of this.#lanes) {
      if (running.filter((delivery) => delivery.domain === domain).length >= MAX_RUNNING_PER_DOMAIN) continue;
      const at = lane.findIndex(({ mail }) => !running.some(({ to }) => to === mail.to));
      if (at < 0) continue;
      const [next] = lane.splice(at, 1);
      this.#lanes.delete(domain);
      if (lane.length > 0) this.#lanes.set(domain, lane);
      return next;
    }
    return undefined;
  }

  /** Tries once: a person who waits for a code asks for another. */
  async #deliver(mail: Mail): Promise<void> {
    const delivery: Delivery = { domain: domainOf(mail.to), to: mail.to, cancel: new AbortController(), isSlow: false };
    this.#running.add(delivery);
    using _slow = after(SLOW_AFTER_MS, () => {
      delivery.isSlow = true;
      this.#boundSlow();
      this.#startNext();
    });
    using _deadline = after(SEND_TIMEOUT_MS, () => delivery.cancel.abort());
    let failure: NexusError | undefined;
    try {
      await this.deps.mailer.send(mail, delivery.cancel.signal);
    } catch (error) {
      failure = toNexusError(error);
    }
    this.#ended(delivery, failure);
    this.#startNext();
  }

  /** Aborts the oldest slow delivery of the domain with the most of them, if there are too many. */
  #boundSlow(): void {
    const slow = [...this.#running].filter(({ isSlow, cancel }) => isSlow && !cancel.signal.aborted);
    if (slow.length <= MAX_SLOW) return;
    const ofDomain = (domain: string): number => slow.filter((delivery) => delivery.domain === domain).length;
    const most = Math.max(...slow.map(({ domain }) => ofDomain(domain)));
    slow.find(({ domain }) => ofDomain(domain) === most)?.cancel.abort();
  }

  #ended(delivery: Delivery | undefined, failure: NexusError | undefined): void {
    if (delivery !== undefined) this.#running.delete(delivery);
    this.#placesTaken -= 1;
    if (failure === undefined) this.statistics.noteSent();
    else this.#failed(failure);
  }

  /** Neither text nor address of the mail reaches the log. */
  #failed({ code, message }: NexusError): void {
    const { log, mailer } = this.deps;
    log.error({ code, destination: mailer.destination }, `a mail could not be sent: ${message}`);
    this.statistics.noteFailed(message);
  }
}

const domainOf = (address: string): string => address.slice(address.lastIndexOf('@') + 1).toLowerCase();

const stopping = (): NexusError => new NexusError('cancelled', 'the controller is stopping');
const tooOld = (): NexusError => new NexusError('deadline_exceeded', 'it waited for too long');
