/**
 * Mail leaves after the answer: how long a mail server takes must not tell whether there was something to send. The
 * queue is bounded; its places are taken before anything is looked up, so that a full queue refuses everybody alike.
 */
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import type { Mail, Mailer } from './port.js';

const MAX_WAITING = 200;
/** A mail server that takes longer is taken for broken: the code in the mail lives for five minutes. */
const SEND_TIMEOUT_MS = 30_000;
/** What waits when the controller stops gets so long. */
const DRAIN_TIMEOUT_MS = 3000;

/** Room for one mail. Given back unless it was used. */
export interface MailPlace extends Disposable {
  post(mail: Mail): void;
}

export class MailQueue {
  readonly #waiting: Mail[] = [];
  readonly #stopping = new AbortController();
  #placesTaken = 0;
  #sending: Promise<void> | undefined;

  constructor(
    private readonly mailer: Mailer,
    private readonly log: Logger,
  ) {}

  /** Code: unavailable, with `retry_after_ms`: mail can't be sent as fast as it is asked for. */
  reserve(): MailPlace {
    if (this.#placesTaken >= MAX_WAITING) {
      throw new NexusError('unavailable', 'too much mail waits to be sent; try again in a minute', {
        retry_after_ms: 60_000,
      });
    }
    this.#placesTaken += 1;
    let isHeld = true;
    return {
      post: (mail) => {
        if (!isHeld) throw new Error('a place takes one mail');
        isHeld = false;
        this.#waiting.push(mail);
        this.#sending ??= this.#sendAll();
      },
      [Symbol.dispose]: () => {
        if (isHeld) this.#placesTaken -= 1;
        isHeld = false;
      },
    };
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    await this.#sending;
  }

  /** Sends what waits, for a few seconds; the rest is dropped, with a line in the log. */
  async close(): Promise<void> {
    const timer = setTimeout(() => {
      this.#stopping.abort(new NexusError('cancelled', 'the controller is stopping'));
    }, DRAIN_TIMEOUT_MS);
    await this.idle();
    clearTimeout(timer);
  }

  async #sendAll(): Promise<void> {
    // Not within the call that posts: its answer comes first.
    await new Promise((resolve) => setImmediate(resolve));
    for (let mail = this.#waiting.shift(); mail !== undefined; mail = this.#waiting.shift()) {
      await this.#sendOne(mail);
      this.#placesTaken -= 1;
    }
    this.#sending = undefined;
  }

  /** One try: whoever waits for a code asks for another. Neither text nor address reaches the log. */
  async #sendOne(mail: Mail): Promise<void> {
    const deadline = new AbortController();
    const giveUp = (): void => {
      deadline.abort(this.#stopping.signal.reason);
    };
    const timer = setTimeout(() => {
      deadline.abort(new NexusError('deadline_exceeded', `the mail server took more than ${SEND_TIMEOUT_MS} ms`));
    }, SEND_TIMEOUT_MS);
    this.#stopping.signal.addEventListener('abort', giveUp, { once: true });
    try {
      this.#stopping.signal.throwIfAborted();
      await this.mailer.send(mail, deadline.signal);
    } catch (error) {
      const { code, message } = toNexusError(error);
      this.log.error({ code, destination: this.mailer.destination }, `a mail could not be sent: ${message}`);
    } finally {
      clearTimeout(timer);
      this.#stopping.signal.removeEventListener('abort', giveUp);
    }
  }
}
