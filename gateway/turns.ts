/** So many at once; further ones wait for their turn in order, and no more than can be told to wait. */
import { NexusError } from '../shared/errors.js';

export class Turns {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(
    private readonly atOnce: number,
    private readonly mostWaiting: number,
  ) {}

  /** Codes: unavailable (too many wait already), cancelled, those of the work. */
  async take<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    await this.#begin(signal);
    try {
      return await work();
    } finally {
      this.#end();
    }
  }

  #begin(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(gone());
    if (this.#running < this.atOnce) {
      this.#running += 1;
      return Promise.resolve();
    }
    if (this.#waiting.length >= this.mostWaiting) {
      return Promise.reject(new NexusError('unavailable', 'too many transfers are waiting; try again in a moment'));
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(gone());
      };
      const begin = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      this.#waiting.push(begin);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** The turn passes on without being free in between. */
  #end(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

const gone = (): NexusError => new NexusError('cancelled', 'the client went away');
