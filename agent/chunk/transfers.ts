/**
 * Bounds the transfers that run at once and, on the way down, waits for them: no new ones, the running ones end. Each
 * transfer may hold about half a MiB, so the bound follows the node's memory.
 */
import { deferred, endsWithin } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { MIB } from '../../shared/limits.js';

const MOST = 64;
const LEAST = 4;
/** Memory of the node for each transfer: leaves most of it to the agent itself, the page cache and commands. */
const MEMORY_PER_TRANSFER_BYTES = 4 * MIB;

/** `memoryLimitBytes` 0: no limit. */
export function transferBound(memoryLimitBytes: number): number {
  if (memoryLimitBytes === 0) return MOST;
  return Math.min(MOST, Math.max(LEAST, Math.floor(memoryLimitBytes / MEMORY_PER_TRANSFER_BYTES)));
}

export class Transfers {
  #active = 0;
  #draining = false;
  #onIdle: (() => void) | undefined;

  constructor(readonly bound: number) {}

  get active(): number {
    return this.#active;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Code: unavailable, when there are too many or the agent is going down. */
  begin(): Disposable {
    if (this.#draining) throw new NexusError('unavailable', 'the node is going down; use another replica or node');
    if (this.#active >= this.bound) {
      throw new NexusError('unavailable', `${this.bound} transfers are running on this node already; try again`);
    }
    this.#active += 1;
    return {
      [Symbol.dispose]: () => {
        this.#active -= 1;
        if (this.#active === 0) this.#onIdle?.();
      },
    };
  }

  /** Refuses new transfers; true when the running ones ended within `graceMs`. */
  async drain(graceMs: number): Promise<boolean> {
    this.#draining = true;
    if (this.#active === 0) return true;
    const idle = deferred();
    this.#onIdle = idle.resolve;
    return await endsWithin(graceMs, idle.promise);
  }
}
