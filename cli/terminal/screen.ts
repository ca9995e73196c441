/**
 * The whole terminal, drawn anew again and again: its second buffer, so that what was on it comes back at the end,
 * whatever the end. Keys come one at a time; Ctrl-C arrives as a key while they do.
 */
import { Bell } from '../../shared/async/bell.js';
import { onAbort } from '../../shared/async/wait.js';
import type { Streams } from './streams.js';
import { beginningOf } from './text-width.js';
import { visible } from './visible.js';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME_AND_CLEAR = '\u001b[H\u001b[J';
const REVERSE = '\u001b[7m';
const PLAIN = '\u001b[0m';
const USUAL_COLUMNS = 80;
const USUAL_ROWS = 24;

export class Screen implements Disposable {
  readonly #keys: string[] = [];
  readonly #bell = new Bell();
  #isClosed = false;
  readonly #onData = (data: Buffer): void => {
    this.#keys.push(...Array.from(data.toString('utf8')));
    this.#bell.ring();
  };
  readonly #gone: Disposable;
  /** Whatever ends the process must not leave the terminal as it is now. */
  readonly #onExit = (): void => {
    this[Symbol.dispose]();
  };

  constructor(
    private readonly streams: Streams,
    private readonly signal: AbortSignal,
  ) {
    const { stdin, stdout } = streams;
    stdout.write(ENTER);
    if (stdin.isTTY === true) stdin.setRawMode?.(true);
    stdin.on('data', this.#onData);
    stdin.resume();
    this.#gone = onAbort(signal, () => {
      this.#isClosed = true;
      this.#bell.ring();
    });
    process.once('exit', this.#onExit);
  }

  get columns(): number {
    return this.streams.stdout.columns ?? USUAL_COLUMNS;
  }

  /** Ended from outside. */
  get isClosed(): boolean {
    return this.#isClosed || this.signal.aborted;
  }

  /** Lines that don't fit are cut at the bottom; `footer` is always seen. */
  draw(lines: readonly string[], footer: string): void {
    const rows = this.streams.stdout.rows ?? USUAL_ROWS;
    const shown = lines.slice(0, Math.max(1, rows - 2));
    const text = shown.map((line) => beginningOf(visible(line), this.columns)).join('\r\n');
    this.streams.stdout.write(`${HOME_AND_CLEAR}${text}\r\n${REVERSE}${beginningOf(footer, this.columns)}${PLAIN}`);
  }

  /** The next key, or undefined when none came in time, `wake` was called, or the end has come. */
  async key(withinMs: number): Promise<string | undefined> {
    if (this.#keys.length === 0 && !this.isClosed) await this.#bell.wait({ ms: withinMs });
    return this.#keys.shift();
  }

  /** Ends the wait for a key: there is something new to draw. */
  wake(): void {
    this.#bell.ring();
  }

  [Symbol.dispose](): void {
    const { stdin, stdout } = this.streams;
    stdin.off('data', this.#onData);
    stdin.pause();
    if (stdin.isTTY === true) stdin.setRawMode?.(false);
    this.#gone[Symbol.dispose]();
    process.off('exit', this.#onExit);
    stdout.write(LEAVE);
  }
}
