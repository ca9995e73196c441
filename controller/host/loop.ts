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
  periodMs: number,
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
      await kicked.wait({ ms: periodMs, signal: ended.signal });
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
