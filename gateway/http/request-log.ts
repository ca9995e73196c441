/**
 * One line in the log for each request, except for what strangers cause: refusals, and what can be asked for without a
 * token. Of that, some lines of each address in a period; the next one says how many were left out.
 */
import { systemClock } from '../../shared/async/clock.js';
import type { Logger } from '../../shared/log.js';
import { LogSampler } from '../../shared/log-sampler.js';

export interface RequestLine {
  readonly message: string;
  /** The client's; empty where there is none. */
  readonly address: string;
  /** Somebody with a good token asked, and got an answer: those are bounded elsewhere. */
  readonly isTrusted: boolean;
  readonly level?: 'debug' | 'error';
}

export class RequestLog {
  readonly #ended = new LogSampler(() => systemClock.monotonic());
  /** Apart, so that lines on refusals leave room for those on faults. */
  readonly #failed = new LogSampler(() => systemClock.monotonic());

  constructor(private readonly log: Logger) {}

  write({ message, address, isTrusted, level }: RequestLine, fields: Readonly<Record<string, unknown>>): void {
    const sampler = level === 'error' ? this.#failed : this.#ended;
    const sample = isTrusted ? { leftOut: 0 } : sampler.admit(address);
    if (sample === undefined) return;
    const left = sample.leftOut === 0 ? {} : { left_out: sample.leftOut };
    this.log[level ?? 'info']({ ...fields, ...left }, message);
  }
}
