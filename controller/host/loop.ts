/** The daemon's periodic work: named, one run at a time, never silently dead. */
import type { Clock } from '../../shared/async/clock.js';
import type { Logger } from '../../shared/log.js';

export interface Loop {
  /** Called once. A loop can be kicked long before it is started. */
  start(): void;
  /** Runs as soon as the current run, if any, is over. */
  kick(): void;
  /** Waits for the current run. A loop that was never started runs no more. */
  stop(): Promise<void>;
}

export function createLoop(
  name: string,
  periodMs: number,
  work: (signal: AbortSignal) => Promise<void>,
  deps: { readonly clock: Clock; readonly log: Logger },
): Loop {
  const ended = new AbortController();
  let kicks = 0;
  let wake = (): void => undefined;
  // Functions, because their answers change while the loop waits.
  const isEnded = (): boolean => ended.signal.aborted;
  const kicksSoFar = (): number => kicks;
  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, periodMs);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
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
      const kicksBefore = kicksSoFar();
      await runOnce();
      if (kicksSoFar() === kicksBefore && !isEnded()) await pause();
    }
  };
  let finished = Promise.resolve();
  return {
    start: () => {
      finished = runUntilEnded();
    },
    kick: () => {
      kicks += 1;
      wake();
    },
    stop: async () => {
      ended.abort();
      wake();
      await finished;
    },
  };
}
