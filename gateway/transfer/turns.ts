/**
 * Limits concurrent transfers. Excess ones queue, up to a maximum; the queue is fair between users, however many
 * transfers each has in it. Of four places or more no user gets all: a client that does not read blocks only its own.
 */
import { NexusError } from '../../shared/errors.js';

/** Largest share of all places that one user may have. */
const MOST_OF_ONE = 3 / 4;

interface Line {
  running: number;
  readonly waiting: (() => void)[];
}

export class Turns {
  #running = 0;
  #waiting = 0;
  /** Users with running or waiting transfers; the one served last is last. */
  readonly #lines = new Map<string, Line>();
  readonly #mostOfOne: number;

  constructor(
    private readonly atOnce: number,
    private readonly mostWaiting: number,
  ) {
    this.#mostOfOne = Math.ceil(atOnce * MOST_OF_ONE);
  }

  /** Codes: unavailable (too many are queued), cancelled, those of the work. */
  async take<Result>(user: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    await this.#begin(user, signal);
    try {
      return await work();
    } finally {
      this.#end(user);
    }
  }

  #begin(user: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(gone());
    const line = this.#lines.get(user) ?? { running: 0, waiting: [] };
    this.#lines.set(user, line);
    if (this.#running < this.atOnce && line.running < this.#mostOfOne) {
      this.#running += 1;
      line.running += 1;
      return Promise.resolve();
    }
    if (this.#waiting >= this.mostWaiting) {
      return Promise.reject(new NexusError('unavailable', 'too many transfers are waiting; try again in a moment'));
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        line.waiting.splice(line.waiting.indexOf(begin), 1);
        this.#waiting -= 1;
        this.#forget(user, line);
        reject(gone());
      };
      const begin = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      line.waiting.push(begin);
      this.#waiting += 1;
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #end(user: string): void {
    this.#running -= 1;
    const ended = this.#lines.get(user);
    if (ended !== undefined) {
      ended.running -= 1;
      this.#forget(user, ended);
    }
    for (const [next, line] of this.#lines) {
      const begin = line.running < this.#mostOfOne ? line.waiting.shift() : undefined;
      if (begin === undefined) continue;
      this.#waiting -= 1;
      this.#running += 1;
      line.running += 1;
      this.#lines.delete(next);
      this.#lines.set(next, line);
      begin();
      return;
    }
  }

  #forget(user: string, { running, waiting }: Line): void {
    if (running + waiting.length === 0) this.#lines.delete(user);
  }
}

const gone = (): NexusError => new NexusError('cancelled', 'the client went away');
