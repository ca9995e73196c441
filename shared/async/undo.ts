/**
 * Undo stack for work in several steps: after each step record its inverse; leaving the scope without `commit()`
 * runs the inverses, newest first. Every inverse runs, whatever the others do; inverses must be idempotent.
 */
import type { Logger } from '../log.js';

interface Inverse {
  readonly name: string;
  readonly run: () => Promise<void>;
}

export class UndoStack {
  #inverses: Inverse[] = [];
  #hasFailed = false;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  defer(name: string, run: () => Promise<void>): void {
    this.#inverses.push({ name, run });
  }

  /** Whether an inverse failed so far: what it should have undone is still there. For the inverses after it. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Keep what was done: drops all inverses. */
  commit(): void {
    this.#inverses = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let inverse = this.#inverses.pop(); inverse !== undefined; inverse = this.#inverses.pop()) {
      try {
        await inverse.run();
      } catch (error) {
        this.#hasFailed = true;
        this.#log.error({ err: error, step: inverse.name }, 'undo step failed; reconcile will try again');
      }
    }
  }
}
