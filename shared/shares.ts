/**
 * Bounds something that clients hold for a while (bytes of requests, open streams), both per client, so that nobody
 * takes all of it, and in total. Keeps no record of clients that hold nothing.
 */
import { NexusError } from './errors.js';
import { MIB } from './limits.js';

export interface ShareLimits {
  readonly ofOne: number;
  readonly ofAll: number;
  /** Describes what is held, for the refusal, e.g. "event streams are open". */
  readonly what: string;
}

/**
 * Bytes of requests that are held while they are answered. Each takes several times its size in a process. One client
 * may have a few of the largest requests, and several clients may do so at once.
 */
export const REQUEST_BYTES: ShareLimits = {
  ofOne: 16 * MIB,
  ofAll: 64 * MIB,
  what: 'bytes of requests are unanswered',
};
/** Streams that only their reader ends: events, figures, logs. */
export const OPEN_STREAMS: ShareLimits = { ofOne: 32, ofAll: 512, what: 'streams are open' };

const RETRY_AFTER_MS = 1000;

export class Shares {
  readonly #held = new Map<string, number>();
  #all = 0;

  constructor(private readonly limits: ShareLimits) {}

  /** Amount held now, by one client or by all. */
  held(client?: string): number {
    return client === undefined ? this.#all : (this.#held.get(client) ?? 0);
  }

  /**
   * Takes a share, which is released by disposing of it; doing so twice is harmless. Codes: resource_exhausted (this
   * client has too much), unavailable (all have), both with `retry_after_ms`.
   */
  take(client: string, amount = 1): Disposable {
    const { ofOne, ofAll, what } = this.limits;
    const held = this.held(client);
    const details = { retry_after_ms: RETRY_AFTER_MS };
    if (held + amount > ofOne) {
      const message = `${held} ${what} of yours, and the limit is ${ofOne}; wait for some to end`;
      throw new NexusError('resource_exhausted', message, details);
    }
    if (this.#all + amount > ofAll)
      throw new NexusError('unavailable', `${this.#all} ${what}; try again in a moment`, details);
    this.#held.set(client, held + amount);
    this.#all += amount;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#all -= amount;
        const left = this.held(client) - amount;
        if (left > 0) this.#held.set(client, left);
        else this.#held.delete(client);
      },
    };
  }
}
