/** The daemon's periodic work: named, one run at a time, never silently dead. */
import type { Clock } from '../../shared/clock.js';
import type { Logger } from '../../shared/log.js';

export interface Loop {
  /** Runs as soon as the current run, if any, is over. */
  kick(): void;
  /** Waits for the current run. */
  stop(): Promise<void>;
}

export function startLoop(
  name: string,
  periodMs: number,
  work: (signal: AbortSignal) => Promise<void>,
  deps: { readonly clock: Clock; readonly log: Logger },
): Loop {
  const ended = new AbortController();
  let wake = (): void => undefined;
  let isKicked = false;
  const pause = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, periodMs);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const finished = (async () => {
    while (!ended.signal.aborted) {
      isKicked = false;
      try {
        await work(ended.signal);
      } catch (error) {
        if (!ended.signal.aborted) deps.log.error({ err: error, loop: name }, 'a run of the loop failed; the next one tries again');
      }
      if (!isKicked && !ended.signal.aborted) await pause();
    }
  })();
  return {
    kick: () => {
      isKicked = true;
      wake();
    },
    stop: async () => {
      ended.abort();
      wake();
      await finished;
    },
  };
}
