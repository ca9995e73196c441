/** Wakes whoever waits for a change. A ring that nobody waits for is kept for the next wait, so none is missed. */
import { deferred, endsWithin, onAbort, type Deferred } from './wait.js';

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
    if (ms !== undefined) return await endsWithin(ms, next.promise, signal);
    const gone = deferred<boolean>();
    using _aborted = onAbort(signal, () => gone.resolve(false));
    next.promise.then(() => gone.resolve(true), gone.reject);
    return await gone.promise;
  }
}
