/** Wakes whoever waits for a change. A ring that nobody waits for is kept for the next wait, so none is missed. */
import { after, cancel } from './timers.js';
import { deferred, onAbort, outcome, type Deferred } from './wait.js';

export class Bell {
  #isRung = false;
  #next: Deferred<void> | undefined;

  ring(): void {
    if (this.#next === undefined) this.#isRung = true;
    else this.#next.resolve();
    this.#next = undefined;
  }

  /** Forgets a ring that nobody waited for. */
  clear(): void {
    this.#isRung = false;
  }

  /** True when it rang; false when `ms` are over or on abort. Never rejects. */
  async wait({ ms, signal }: { readonly ms?: number; readonly signal?: AbortSignal } = {}): Promise<boolean> {
    if (this.#isRung) {
      this.#isRung = false;
      return true;
    }
    if (signal?.aborted === true) return false;
    const next = (this.#next ??= deferred());
    // Without an error for the time's end: a process at rest waits here many times a second.
    return await outcome<boolean>((resolve, reject) => {
      next.promise.then(() => resolve(true), reject);
      const timer = ms === undefined ? undefined : after(ms, () => resolve(false));
      const gone = onAbort(signal, () => resolve(false));
      return () => {
        cancel(timer);
        gone[Symbol.dispose]();
      };
    });
  }
}
