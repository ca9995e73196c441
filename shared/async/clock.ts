import { after, cancel, sleep } from './timers.js';

/** Time as a port: adapters read this clock, so that tests can move it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds from an arbitrary start that never go back. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The machine's clock; the only place that reads it. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep,
};

/**
 * Calls `act` at every multiple of `ms` of the machine's clock, `phaseMs` later, with the multiple's number, until it is
 * disposed. Processes that do so with the same phase wake together, and wake those together to whom they talk.
 */
export function inStep(ms: number, phaseMs: number, act: (count: number) => void): Disposable {
  const passed = (): number => (systemClock.now() - phaseMs) / ms;
  let last = Math.floor(passed());
  const next = (): NodeJS.Timeout => after((Math.floor(passed()) + 1 - passed()) * ms, tick);
  const tick = (): void => {
    // A timer may fire a moment early.
    const count = Math.round(passed());
    if (count !== last) act(count);
    last = count;
    timer = next();
  };
  let timer = next();
  return {
    [Symbol.dispose]: () => {
      cancel(timer);
    },
  };
}
