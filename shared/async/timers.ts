/** Node's timers. Nothing outside of this folder starts one, so that each has a bound, an owner and an end. */
import { setTimeout as pause } from 'node:timers/promises';

/** Resolves after `ms`; rejects with the signal's reason when aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await pause(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    // Node rejects with an AbortError of its own.
    throw signal?.aborted === true ? signal.reason : error;
  }
}

/** Calls `act` once after `ms`, unless disposed before; `refresh()` starts the time anew. */
export const after = (ms: number, act: () => void): NodeJS.Timeout => setTimeout(act, ms);

/** Calls `act` every `ms` until disposed. */
export const every = (ms: number, act: () => void): NodeJS.Timeout => setInterval(act, ms);

/** Ends a timer of `after` or `every` that lives longer than a scope. */
export function cancel(timer: NodeJS.Timeout | undefined): void {
  clearTimeout(timer);
}
