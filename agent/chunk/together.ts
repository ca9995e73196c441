/**
 * Many chunks that become durable together, in two steps: the content of all, then the names of all. Each step waits for
 * every member that has not left, and then flushes the volume once.
 */
import { deferred, type Deferred } from '../../shared/async/wait.js';
import { syncFolder, writeDurably } from './layout.js';

/** How a chunk is made durable: alone by default. */
export interface Durability {
  /** The sidecar is written, and it and the chunk's file are durable, when it resolves. */
  content(file: { sync(): Promise<void> }, sidecar: { readonly path: string; readonly text: string }): Promise<void>;
  /** The names in the folder are durable when it resolves. */
  names(folder: string): Promise<void>;
}

export const ALONE: Durability = {
  content: async (file, { path, text }) => {
    const made = await Promise.allSettled([file.sync(), writeDurably(path, text)]);
    for (const step of made) if (step.status === 'rejected') throw step.reason;
  },
  names: syncFolder,
};

class Step {
  #missing: number;
  readonly #done: Deferred<void> = deferred();

  constructor(
    members: number,
    private readonly flush: () => Promise<void>,
  ) {
    this.#missing = members;
    // Awaited by members; all of them may have left.
    this.#done.promise.catch(() => undefined);
  }

  async arrive(): Promise<void> {
    this.leave();
    await this.#done.promise;
  }

  leave(): void {
    this.#missing -= 1;
    if (this.#missing === 0) this.flush().then(this.#done.resolve, this.#done.reject);
  }
}

export class Together {
  readonly #steps: readonly Step[];

  /** `members`: exactly so many times `member` is called. */
  constructor(
    members: number,
    flush: () => Promise<void>,
    private readonly writeSidecar: (path: string, text: string) => Promise<void>,
  ) {
    this.#steps = [new Step(members, flush), new Step(members, flush)];
  }

  /** Dispose it when its chunk is durable or has failed: the others don't wait for it then. */
  member(): Durability & Disposable {
    const left = [...this.#steps];
    return {
      content: async (_file, { path, text }) => {
        await this.writeSidecar(path, text);
        await left.shift()?.arrive();
      },
      names: async () => {
        await left.shift()?.arrive();
      },
      [Symbol.dispose]: () => {
        for (const step of left.splice(0)) step.leave();
      },
    };
  }
}
