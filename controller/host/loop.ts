/** The daemon's periodic work: named, one run at a time, never silently dead. */
import { Bell } from '../../shared/async/bell.js';
import type { Clock } from '../../shared/async/clock.js';
import type { Logger } from '../../shared/log.js';

export interface Loop {
  /** Called once. A loop can be kicked long before it is started. */
  start(): void;
  /** Runs as soon as the current run, if any, is over. */
  kick(): void;
  /** Waits for the current run. A loop that was never started runs no more. */
  close(): Promise<void>;
}

export function createLoop(
  name: string,
  periodMs: number | (() => number),
  work: (signal: AbortSignal) => Promise<void>,
  deps: { readonly clock: Clock; readonly log: Logger },
): Loop {
  const ended = new AbortController();
  const kicked = new Bell();
  // A function, because its answer changes while the loop waits.
  const isEnded = (): boolean => ended.signal.aborted;
  const runOnce = async (): Promise<void> => {
    try {
      await work(ended.signal);
    } catch (error) {
      if (isEnded()) return;
      deps.log.error({ err: error, loop: name }, 'a run of the loop failed; the next one tries again');
    }
  };
  const runUntilEnded = async (): Promise<void> => {
    while (!isEnded()) {
      kicked.clear();
      await runOnce();
      const ms = untilNextBeat(deps.clock.monotonic(), typeof periodMs === 'number' ? periodMs : periodMs());
      await kicked.wait({ ms, signal: ended.signal });
    }
  };
  let finished = Promise.resolve();
  return {
    start: () => {
      finished = runUntilEnded();
    },
    kick: () => {
      kicked.ring();
    },
    close: async () => {
      ended.abort();
      await finished;
    },
  };
}

/**
 * Wait until the next multiple of the period, at least half a period and at most one and a half. Loops thus wake the
 * process together: at rest, waking up costs more than what most of them do. Pure.
 */
export function untilNextBeat(nowMs: number, periodMs: number): number {
  const left = periodMs - (nowMs % periodMs);
  return left < periodMs / 2 ? left + periodMs : left;
}
