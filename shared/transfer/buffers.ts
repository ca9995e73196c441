/** A fixed number of chunk-sized buffers, handed round: what bounds the memory of a transfer whatever the file's size. */
import { CHUNK_SIZE_BYTES } from '../limits.js';

export class ChunkBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #made = 0;

  constructor(private readonly most: number) {}

  /** Waits until one is free. */
  take(): Promise<Buffer> {
    const buffer = this.#free.pop();
    if (buffer !== undefined) return Promise.resolve(buffer);
    if (this.#made < this.most) {
      this.#made += 1;
      // Shared, so that another thread can hash it where it lies.
      return Promise.resolve(Buffer.from(new SharedArrayBuffer(CHUNK_SIZE_BYTES)));
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }
}
