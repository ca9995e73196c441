/**
 * A fixed number of buffers, handed round: what bounds the memory of a transfer whatever the file's size. Whole-chunk
 * ones are kept for the next transfer, because shared memory is given back late: a process of many transfers would hold
 * gigabytes of it. So there are never many more than the transfers that ran at once had; most go when it has been quiet.
 */
import { after, cancel } from '../async/timers.js';
import { deferred } from '../async/wait.js';
import { CHUNK_SIZE_BYTES } from '../limits.js';

/** Kept while no transfer runs: enough for a few at once. */
const KEPT_WHEN_QUIET = 12;
const QUIET_AFTER_MS = 10_000;
const kept: Buffer[] = [];
let quiet: NodeJS.Timeout | undefined;

export class ChunkBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #made = 0;

  /** `sizeBytes`: of each; less than a chunk where nothing larger will come. */
  constructor(
    private readonly most: number,
    private readonly sizeBytes = CHUNK_SIZE_BYTES,
  ) {}

  /** Waits until one is free. */
  take(): Promise<Buffer> {
    const buffer = this.#free.pop();
    if (buffer !== undefined) return Promise.resolve(buffer);
    if (this.#made < this.most) {
      this.#made += 1;
      return Promise.resolve(this.#make());
    }
    const { promise, resolve } = deferred<Buffer>();
    this.#waiting.push(resolve);
    return promise;
  }

  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }

  /** When the transfer has ended and nobody uses those that were given back. */
  close(): void {
    if (this.sizeBytes !== CHUNK_SIZE_BYTES) return;
    kept.push(...this.#free.splice(0));
    cancel(quiet);
    quiet = after(QUIET_AFTER_MS, () => kept.splice(KEPT_WHEN_QUIET)).unref();
  }

  /** Shared, so that another thread can hash it where it lies. */
  #make(): Buffer {
    const again = this.sizeBytes === CHUNK_SIZE_BYTES ? kept.pop() : undefined;
    return again ?? Buffer.from(new SharedArrayBuffer(this.sizeBytes));
  }
}
