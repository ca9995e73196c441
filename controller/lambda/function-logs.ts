/** The last invocations of each function, in memory: gone with the controller, and bounded in every direction. */
import type { LambdaResult } from './invoke.js';
import { LOGGED_FUNCTIONS, LOGGED_OUTPUT_BYTES, LOGS_PER_FUNCTION } from './limits.js';

export interface LoggedInvocation {
  readonly atMs: number;
  readonly version: string;
  readonly result: LambdaResult;
  /** The last of both streams, in order of arrival, then what the handler returned on a line of its own. */
  readonly output: Buffer;
}

export class FunctionLogs {
  readonly #logs = new Map<string, LoggedInvocation[]>();

  add(user: string, name: string, invocation: LoggedInvocation): void {
    const key = keyOf(user, name);
    const log = this.#logs.get(key) ?? [];
    // To the end: the first is the one that was invoked longest ago.
    this.#logs.delete(key);
    this.#logs.set(key, [...log.slice(-(LOGS_PER_FUNCTION - 1)), invocation]);
    const [oldest] = this.#logs.keys();
    if (this.#logs.size > LOGGED_FUNCTIONS && oldest !== undefined) this.#logs.delete(oldest);
  }

  /** Oldest first. */
  last(user: string, name: string, limit: number): readonly LoggedInvocation[] {
    return this.#logs.get(keyOf(user, name))?.slice(-limit) ?? [];
  }

  forget(user: string, name: string): void {
    this.#logs.delete(keyOf(user, name));
  }
}

const keyOf = (user: string, name: string): string => `${user}/${name}`;

const NEWLINE = 0x0a;

/** Keeps the end of what passes. */
export class Tail {
  #parts: Buffer[] = [];
  #bytes = 0;

  add(data: Buffer): void {
    this.#parts.push(data);
    this.#bytes += data.length;
    if (this.#bytes > 2 * LOGGED_OUTPUT_BYTES) this.#cut();
  }

  /** Begins a line where the last one has not ended. */
  addLine(text: string): void {
    const isOpen = (this.#parts.at(-1)?.at(-1) ?? NEWLINE) !== NEWLINE;
    this.add(Buffer.from(`${isOpen ? '\n' : ''}${text}\n`));
  }

  take(): Buffer {
    this.#cut();
    return Buffer.concat(this.#parts);
  }

  #cut(): void {
    const end = Buffer.concat(this.#parts).subarray(-LOGGED_OUTPUT_BYTES);
    this.#parts = [Buffer.from(end)];
    this.#bytes = end.length;
  }
}
