/**
 * Watches one invocation: its output passes through here, and whatever goes beyond a limit ends the sandbox. The first
 * reason counts; what the code still says after it is not passed on.
 */
import type { Clock } from '../../shared/clock.js';
import type { Sandbox, SandboxEnd } from './sandbox/port.js';
import type { Reason } from './statistics.js';

/** What ended the sandbox that neither the code nor its caller is to blame for. */
export type Interruption = 'node' | 'node_memory' | 'runtime';

export type Verdict = SandboxEnd & { readonly reason: Reason; readonly interruption: Interruption | undefined };

export type Stream = 'stdout' | 'stderr';
export type OnOutput = (stream: Stream, data: Buffer) => void;

export interface WatchLimits {
  readonly timeoutMs: number;
  /** Of both streams together. */
  readonly outputBytes: number;
}

export class Watchdog {
  #reason: Reason | undefined;
  #bytes = 0;
  readonly #over = new AbortController();
  readonly #onAbort = (): void => {
    this.#end('cancelled');
  };

  constructor(
    private readonly sandbox: Sandbox,
    private readonly limits: WatchLimits,
    private readonly pass: OnOutput,
    private readonly signal: AbortSignal,
  ) {}

  /** Counts from here on. */
  arm(clock: Clock): void {
    this.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (this.signal.aborted) this.#onAbort();
    clock.sleep(this.limits.timeoutMs, this.#over.signal).then(
      () => {
        this.#end('timeout');
      },
      () => undefined,
    );
  }

  readonly output: OnOutput = (stream, data) => {
    if (this.#reason !== undefined) return;
    const room = this.limits.outputBytes - this.#bytes;
    this.#bytes += data.length;
    if (data.length <= room) {
      this.pass(stream, data);
      return;
    }
    if (room > 0) this.pass(stream, data.subarray(0, room));
    this.#end('output_limit');
  };

  /** Nothing is left of the sandbox when it resolves. */
  async verdict(): Promise<Verdict> {
    const end = await this.sandbox.ended;
    this.#over.abort();
    this.signal.removeEventListener('abort', this.#onAbort);
    const reason = this.#reason ?? (end.outOfMemory === 'limit' ? 'out_of_memory' : 'exit');
    return { ...end, reason, interruption: this.#reason === undefined ? this.#interruptionOf(end) : undefined };
  }

  #interruptionOf({ outOfMemory, isLost }: SandboxEnd): Interruption | undefined {
    if (outOfMemory === 'node') return 'node_memory';
    if (outOfMemory === 'limit') return undefined;
    // Nobody but those who take a node away ends a sandbox while its code runs.
    if (this.sandbox.wasEnded) return 'node';
    return isLost ? 'runtime' : undefined;
  }

  #end(reason: Reason): void {
    this.#reason ??= reason;
    void this.sandbox.end();
  }
}
