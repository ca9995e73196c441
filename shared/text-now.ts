/** A small text file that is needed before anything can be waited for, and must not hold the process where it is a pipe. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { systemClock } from './async/clock.js';
import { NexusError } from './errors.js';

const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
/** Between two looks at a pipe that nothing has come from, and how long it is looked at. */
const LOOK_MS = 20;
const PATIENCE_MS = 5000;

/**
 * A small text at once, for what is needed before anything can be waited for. A named pipe has 5 s to give it. Throws what
 * the system says. Code: deadline_exceeded.
 */
export function readTextNow(path: string, mostBytes: number): string {
  using reading = new Reading(path, mostBytes);
  for (;;) {
    const text = reading.look();
    if (text !== undefined) return text;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
  }
}

/** As readTextNow, while other things go on, signals above all. Also throws the reason of `signal`. */
export async function readTextSoon(path: string, mostBytes: number, signal: AbortSignal): Promise<string> {
  using reading = new Reading(path, mostBytes);
  for (;;) {
    const text = reading.look();
    if (text !== undefined) return text;
    await systemClock.sleep(LOOK_MS, signal);
  }
}

class Reading implements Disposable {
  readonly #descriptor: number;
  readonly #mayWait: boolean;
  readonly #buffer: Buffer;
  readonly #deadline = systemClock.monotonic() + PATIENCE_MS;
  #size = 0;

  constructor(
    private readonly path: string,
    mostBytes: number,
  ) {
    this.#buffer = Buffer.alloc(mostBytes);
    this.#descriptor = openSync(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    this.#mayWait = !fstatSync(this.#descriptor).isFile();
  }

  /** All of it; undefined: not yet. */
  look(): string | undefined {
    for (;;) {
      const read = this.#read();
      this.#size += read ?? 0;
      // The end of a pipe before its first byte: its writer has not come yet.
      const isOver = read === 0 && (this.#size > 0 || !this.#mayWait);
      if (isOver || this.#size === this.#buffer.length) return this.#buffer.toString('utf8', 0, this.#size);
      if (read !== undefined && read > 0) continue;
      if (systemClock.monotonic() <= this.#deadline) return undefined;
      const seconds = PATIENCE_MS / 1000;
      throw new NexusError('deadline_exceeded', `${this.path} gave nothing within ${seconds} s; give a file`);
    }
  }

  /** undefined: nothing has come yet. */
  #read(): number | undefined {
    try {
      return readSync(this.#descriptor, this.#buffer, this.#size, this.#buffer.length - this.#size, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}
