/**
 * Watches one invocation: its output passes through here, and whatever goes beyond a limit ends the sandbox. The first
 * reason counts; what the code still says after it is not passed on.
 */
import type { Clock } from '../../shared/clock.js';
import type { Sandbox, SandboxEnd } from './sandbox/port.js';
import type { Reason } from './statistics.js';

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

  /** Somebody else ended the sandbox while the code ran: its node went. */
  get wasTaken(): boolean {
    return this.#reason === undefined && this.sandbox.wasEnded;
  }

  /** Nothing is left of the sandbox when it resolves. */
  async verdict(): Promise<SandboxEnd & { readonly reason: Reason }> {
    const end = await this.sandbox.ended;
    this.#over.abort();
    this.signal.removeEventListener('abort', this.#onAbort);
    return { ...end, reason: this.#reason ?? (isOutOfMemory(end) ? 'out_of_memory' : 'exit') };
  }

  #end(reason: Reason): void {
    this.#reason ??= reason;
    void this.sandbox.end();
  }
}

/** Code that outlives the killing of a child of its and says that all is well is taken at its word. */
const isOutOfMemory = ({ outOfMemory, exitCode }: SandboxEnd): boolean => outOfMemory && exitCode !== 0;
