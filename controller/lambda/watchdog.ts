/**
 * Watches one invocation: its output passes through here, and exceeding a limit ends the sandbox. The first reason
 * counts; output after it is not passed on. The result is kept until the end of the sandbox, when it is known to be
 * whole.
 */
import { onAbort } from '../../shared/async/wait.js';
import type { Clock } from '../../shared/async/clock.js';
import { handedBack } from './event-text.js';
import { MAX_RESULT_BYTES } from './limits.js';
import type { Sandbox, SandboxEnd, SandboxStream } from './sandbox/port.js';
import type { Reason } from './statistics.js';

/** Causes of an end that are the fault of neither the code nor its caller. */
export type Interruption = 'node' | 'node_memory' | 'runtime';

export type Verdict = SandboxEnd & {
  readonly reason: Reason;
  readonly interruption: Interruption | undefined;
  /** JSON text that the handler returned; undefined if there is none, or the code did not end by itself. */
  readonly result: string | undefined;
};

/** Exit codes by reason, where the code did not end by itself: as of timeout(1), and of a shell for SIGKILL. */
const EXIT_CODES: Readonly<Partial<Record<Reason, number>>> = {
  timeout: 124,
  out_of_memory: 137,
  output_limit: 137,
  cancelled: 137,
};

export type Stream = 'stdout' | 'stderr';
export type OnOutput = (stream: Stream, data: Buffer) => void;

export interface WatchLimits {
  readonly timeoutMs: number;
  /** Bytes of both streams and the result together. */
  readonly outputBytes: number;
}

export class Watchdog {
  #reason: Reason | undefined;
  #bytes = 0;
  #result = Buffer.alloc(0);
  #resultBytes = 0;
  readonly #over = new AbortController();
  #gone: Disposable | undefined;

  constructor(
    private readonly sandbox: Sandbox,
    private readonly limits: WatchLimits,
    private readonly pass: OnOutput,
    private readonly signal: AbortSignal,
  ) {}

  /** Starts the timeout, and reacts to the caller's signal from now on. */
  arm(clock: Clock): void {
    this.#gone = onAbort(this.signal, () => this.#end('cancelled'));
    clock.sleep(this.limits.timeoutMs, this.#over.signal).then(
      () => {
        this.#end('timeout');
      },
      () => undefined,
    );
  }

  readonly output = (stream: SandboxStream, data: Buffer): void => {
    if (this.#reason !== undefined) return;
    const room = this.limits.outputBytes - this.#bytes;
    this.#bytes += data.length;
    const isOver = data.length > room;
    if (stream !== 'result') this.#pass(stream, isOver ? data.subarray(0, Math.max(room, 0)) : data);
    else if (!isOver && this.#resultBytes + data.length <= MAX_RESULT_BYTES) this.#keep(data);
    else this.#end('output_limit');
    if (isOver) this.#end('output_limit');
  };

  /** Resolves when nothing is left of the sandbox. */
  async verdict(): Promise<Verdict> {
    const end = await this.sandbox.ended;
    this.#over.abort();
    this.#gone?.[Symbol.dispose]();
    const reason = this.#reason ?? (end.outOfMemory === 'limit' ? 'out_of_memory' : 'exit');
    const interruption = this.#reason === undefined ? this.#interruptionOf(end) : undefined;
    const exitCode = EXIT_CODES[reason] ?? end.exitCode;
    if (reason !== 'exit' || interruption !== undefined) {
      return { ...end, exitCode, reason, interruption, result: undefined };
    }
    const { text, problem } = handedBack(this.#result.subarray(0, this.#resultBytes));
    if (problem === undefined) return { ...end, exitCode, reason, interruption, result: text };
    this.pass('stderr', Buffer.from(`the value that handler returned can't be returned as JSON: ${problem}\n`));
    return { ...end, exitCode: exitCode === 0 ? 1 : exitCode, reason, interruption, result: undefined };
  }

  #pass(stream: Stream, data: Buffer): void {
    if (data.length > 0) this.pass(stream, data);
  }

  /** Keeps the result in one buffer that doubles as it grows: writing byte by byte must not cost an object for each. */
  #keep(data: Buffer): void {
    const end = this.#resultBytes + data.length;
    if (end > this.#result.length) {
      const larger = Buffer.alloc(Math.max(end, 2 * this.#result.length));
      this.#result.copy(larger, 0, 0, this.#resultBytes);
      this.#result = larger;
    }
    data.copy(this.#result, this.#resultBytes);
    this.#resultBytes = end;
  }

  #interruptionOf({ outOfMemory, isLost }: SandboxEnd): Interruption | undefined {
    if (outOfMemory === 'node') return 'node_memory';
    if (outOfMemory === 'limit') return undefined;
    // Apart from this watchdog, only closing a node ends a sandbox while its code runs.
    if (this.sandbox.wasEnded) return 'node';
    return isLost ? 'runtime' : undefined;
  }

  #end(reason: Reason): void {
    this.#reason ??= reason;
    void this.sandbox.destroy();
  }
}
