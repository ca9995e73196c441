/**
 * Writers of chunks, one at a time for each. A later writer takes the place of an earlier one, which is mostly left from an
 * attempt that its sender has given up: a node that was killed does not even close its connections.
 */
import { deferred, endsWithin } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';

/** For an earlier write that is just being made durable. */
const WAIT_MS = 10_000;

export interface Writer {
  /** Aborted when a later one is to have the place: take no more bytes, and end. */
  readonly signal: AbortSignal;
  /** The place is free again. Idempotent. */
  release(): void;
}

interface Place {
  readonly gone: AbortController;
  readonly ended: Promise<void>;
}

export class Writers {
  readonly #places = new Map<ChunkId, Place>();

  /** Resolves when an earlier writer has ended. Code: aborted (it does not end, or somebody else was quicker). */
  async begin(chunk: ChunkId): Promise<Writer> {
    const before = this.#places.get(chunk);
    if (before !== undefined) {
      before.gone.abort(new NexusError('aborted', `chunk ${chunk} is written by a later request`, { chunk }));
      await endsWithin(WAIT_MS, before.ended);
    }
    if (this.#places.has(chunk))
      throw new NexusError('aborted', `chunk ${chunk} is being written by another request`, { chunk });
    const gone = new AbortController();
    const { promise: ended, resolve: end } = deferred();
    const place: Place = { gone, ended };
    this.#places.set(chunk, place);
    return {
      signal: gone.signal,
      release: () => {
        if (this.#places.get(chunk) === place) this.#places.delete(chunk);
        end();
      },
    };
  }
}
