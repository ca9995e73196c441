/**
 * Limits work that runs at once, of all keys and of each key. Excess work queues, up to a maximum; the queue is fair
 * between keys, however much each has in it, and in order within a key. Keys with no work take no memory.
 *
 * The project's only lock and only semaphore: packages for these have no fairness between keys, and no bound and no
 * abort of the wait.
 */
import { NexusError } from '../errors.js';
import { MAX_WAITING_FOR_TURN } from '../limits.js';
import { deferred, onAbort } from './wait.js';

export interface TurnLimits {
  /** Limits those of all keys together. Default: no limit. */
  readonly atOnce?: number;
  /** Limits those of one key. Default: no limit of its own. */
  readonly perKey?: number;
  /** Limits those that wait, of all keys together. Default: MAX_WAITING_FOR_TURN. */
  readonly mostWaiting?: number;
  /** The refusal of work beyond `mostWaiting`. Default: code unavailable. */
  readonly tooMany?: () => NexusError;
}

interface Line {
  running: number;
  readonly waiting: (() => void)[];
}

export class Turns<Key = string> {
  #running = 0;
  #waiting = 0;
  /** Keys with running or waiting work; the one served last is last. */
  readonly #lines = new Map<Key, Line>();
  readonly #atOnce: number;
  readonly #perKey: number;
  readonly #mostWaiting: number;
  readonly #tooMany: () => NexusError;

  constructor(limits: TurnLimits) {
    this.#atOnce = limits.atOnce ?? Infinity;
    this.#perKey = limits.perKey ?? Infinity;
    this.#mostWaiting = limits.mostWaiting ?? MAX_WAITING_FOR_TURN;
    this.#tooMany = limits.tooMany ?? tooMany;
  }

  /** Whether work of this key runs or waits. */
  isBusy(key: Key): boolean {
    return this.#lines.has(key);
  }

  /** Codes: unavailable (too much is queued), cancelled, those of the work. */
  async take<Result>(key: Key, signal: AbortSignal | undefined, work: () => Promise<Result>): Promise<Result> {
    await this.#begin(key, signal);
    try {
      return await work();
    } finally {
      this.#end(key);
    }
  }

  /** Waits for a turn, which lasts until it is disposed of. Codes: unavailable (too much is queued), cancelled. */
  async enter(key: Key, signal: AbortSignal | undefined): Promise<Disposable> {
    await this.#begin(key, signal);
    let isOver = false;
    return {
      [Symbol.dispose]: () => {
        if (isOver) return;
        isOver = true;
        this.#end(key);
      },
    };
  }

  async #begin(key: Key, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) throw gone();
    const line = this.#lines.get(key) ?? { running: 0, waiting: [] };
    if (this.#running < this.#atOnce && line.running < this.#perKey) {
      this.#lines.set(key, line);
      this.#running += 1;
      line.running += 1;
      return;
    }
    if (this.#waiting >= this.#mostWaiting) throw this.#tooMany();
    this.#lines.set(key, line);
    const { promise, resolve, reject } = deferred();
    line.waiting.push(resolve);
    this.#waiting += 1;
    using _gone = onAbort(signal, () => {
      const at = line.waiting.indexOf(resolve);
      // Its turn may have come in the same moment: then it runs.
      if (at < 0) return;
      line.waiting.splice(at, 1);
      this.#waiting -= 1;
      this.#forget(key, line);
      reject(gone());
    });
    await promise;
  }

  #end(key: Key): void {
    this.#running -= 1;
    const ended = this.#lines.get(key);
    if (ended !== undefined) {
      ended.running -= 1;
      this.#forget(key, ended);
    }
    for (const [next, line] of this.#lines) {
      const begin = line.running < this.#perKey ? line.waiting.shift() : undefined;
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

  #forget(key: Key, { running, waiting }: Line): void {
    if (running + waiting.length === 0) this.#lines.delete(key);
  }
}

const gone = (): NexusError => new NexusError('cancelled', 'the caller went away');
const tooMany = (): NexusError =>
  new NexusError('unavailable', 'too much waits for its turn already; try again in a moment');

/** Serialises work by key: one holder at a time for each key, waiters in order. */
export class KeyedMutex<Key> {
  readonly #turns = new Turns<Key>({ perKey: 1 });

  isLocked(key: Key): boolean {
    return this.#turns.isBusy(key);
  }

  /** Waits for its turn without a time limit: holders are to end in bounded time. Code besides the work's: unavailable. */
  async run<Result>(key: Key, work: () => Promise<Result>): Promise<Result> {
    return await this.#turns.take(key, undefined, work);
  }
}

/** Limits work that runs at once, in order. `atOnce` 1 is a mutex. */
export class Limit {
  readonly #turns: Turns<'all'>;

  constructor(atOnce: number, limits: Pick<TurnLimits, 'mostWaiting' | 'tooMany'> = {}) {
    this.#turns = new Turns({ ...limits, atOnce });
  }

  /** Whether work runs or waits. */
  get isBusy(): boolean {
    return this.#turns.isBusy('all');
  }

  /** Codes besides the work's: unavailable (or what `tooMany` returns), cancelled. */
  async run<Result>(work: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    return await this.#turns.take('all', signal, work);
  }
}
