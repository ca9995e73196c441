/**
 * Asks the user questions. Secrets come from here or from a file, never from an argument, which every process of the
 * machine can read. On a terminal they are not echoed; from a pipe each question takes the next line, so that a script
 * can answer a login step by step. Questions go to standard error: standard output is for results alone.
 */
import { deferred, onAbort } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import type { Streams } from './streams.js';

/** Far longer than any answer. */
const MAX_LINE_BYTES = 4096;
const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACES: readonly number[] = [8, 127];
const CTRL_U = 21;
const LINE_ENDS: readonly number[] = [10, 13];

interface Waiting {
  readonly what: string;
  readonly isSecret: boolean;
  readonly resolve: (line: string) => void;
  readonly reject: (error: NexusError) => void;
}

/** One question at a time. */
export class Prompt implements Disposable {
  /** Bytes received that no question has taken yet. */
  #ahead: number[] = [];
  #line: number[] = [];
  #waiting: Waiting | undefined;
  #hasEnded = false;
  readonly #onData = (data: Buffer | string): void => {
    this.#ahead.push(...Buffer.from(data as Buffer));
    this.#take();
  };
  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    this.#take();
  };
  readonly #gone: Disposable;

  constructor(
    private readonly streams: Streams,
    readonly signal: AbortSignal,
  ) {
    // Input is read only when a question needs it: a pipe may hold any amount.
    streams.stdin.pause();
    streams.stdin.on('data', this.#onData);
    streams.stdin.once('end', this.#onEnd);
    this.#gone = onAbort(signal, () => this.#fail(interrupted()));
  }

  /** `what` names the answer, e.g. `user name`. Codes: invalid_argument (no input, or too much), cancelled. */
  ask(what: string): Promise<string> {
    return this.#ask(what, false);
  }

  /** As `ask`, but not echoed. */
  askSecret(what: string): Promise<string> {
    return this.#ask(what, true);
  }

  /**
   * Asks for a new secret, which is typed twice on a terminal. Codes: as `ask`, and invalid_argument if the two differ.
   */
  async askNewSecret(what: string): Promise<string> {
    const first = await this.askSecret(what);
    if (this.streams.stdin.isTTY !== true) return first;
    if ((await this.askSecret(`${what} again`)) === first) return first;
    throw new NexusError('invalid_argument', `the two differ; nothing was done`);
  }

  [Symbol.dispose](): void {
    const { stdin } = this.streams;
    this.#setRaw(false);
    stdin.off('data', this.#onData);
    stdin.off('end', this.#onEnd);
    this.#gone[Symbol.dispose]();
    stdin.pause();
  }

  #ask(what: string, isSecret: boolean): Promise<string> {
    if (this.signal.aborted) return Promise.reject(interrupted());
    const { promise, resolve, reject } = deferred<string>();
    this.#waiting = { what, isSecret, resolve, reject };
    // Before the question appears: from then on the user may type, and nothing may be echoed.
    this.#setRaw(isSecret);
    if (this.streams.stdin.isTTY === true) this.streams.stderr.write(`${what}: `);
    this.streams.stdin.resume();
    this.#take();
    return promise;
  }

  /** Takes bytes until the question is answered; what follows belongs to the next one. */
  #take(): void {
    while (this.#waiting !== undefined && this.#ahead.length > 0) this.#takeByte(this.#ahead.shift() ?? 0);
    if (this.#waiting === undefined || !this.#hasEnded) return;
    if (this.#line.length > 0) this.#answer();
    else this.#fail(new NexusError('invalid_argument', `standard input ended before the ${this.#waiting.what}`));
  }

  #takeByte(byte: number): void {
    const isTyped = this.#waiting?.isSecret === true && this.streams.stdin.isTTY === true;
    if (LINE_ENDS.includes(byte)) this.#endLine(byte);
    else if (isTyped && byte === CTRL_C) this.#fail(interrupted());
    else if (isTyped && byte === CTRL_D) this.#fail(new NexusError('cancelled', 'nothing was given'));
    else if (isTyped && byte === CTRL_U) this.#line = [];
    else if (isTyped && BACKSPACES.includes(byte)) this.#removeCharacter();
    else if (this.#line.length < MAX_LINE_BYTES) this.#line.push(byte);
    else this.#fail(new NexusError('invalid_argument', `the ${this.#waiting?.what ?? ''} is too long`));
  }

  /** The second byte of a CR LF ends no line of its own. */
  #endLine(byte: number): void {
    if (byte === 13 && this.#ahead[0] === 10) this.#ahead.shift();
    this.#answer();
  }

  /** The last character with all its bytes: continuation bytes of UTF-8 begin with 10. */
  #removeCharacter(): void {
    while (((this.#line.pop() ?? 0) & 0xc0) === 0x80);
  }

  #answer(): void {
    const line = Buffer.from(this.#line).toString('utf8');
    this.#settle()?.resolve(line);
  }

  #fail(error: NexusError): void {
    this.#settle()?.reject(error);
  }

  #settle(): Waiting | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#line = [];
    if (waiting?.isSecret === true && this.streams.stdin.isTTY === true) this.streams.stderr.write('\n');
    this.#setRaw(false);
    this.streams.stdin.pause();
    return waiting;
  }

  #setRaw(isRaw: boolean): void {
    if (this.streams.stdin.isTTY === true) this.streams.stdin.setRawMode?.(isRaw);
  }
}

const interrupted = (): NexusError => new NexusError('cancelled', 'interrupted');
