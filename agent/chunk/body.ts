/** Takes a request's body piece by piece, at the pace of whoever consumes it, and in bounded time. */
import type { IncomingMessage } from 'node:http';
import { after, cancel } from '../../shared/async/timers.js';
import { outcome } from '../../shared/async/wait.js';
import { NexusError, toNexusError } from '../../shared/errors.js';

/** A peer that sends nothing, or takes nothing, for so long is given up. */
export const IDLE_TIMEOUT_MS = 30_000;

/**
 * Resolves when all of the body has been consumed. `consume` may return a promise to wait for before the next piece.
 * After a failure the request is left as it is: the caller answers it. Codes: cancelled (the sender went away),
 * deadline_exceeded (it sends nothing), whatever `consume` throws, and the reason of `signal`.
 */
export function consumeBody(
  request: IncomingMessage,
  consume: (piece: Buffer) => Promise<void> | undefined,
  limits: { readonly idleTimeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<void> {
  const { idleTimeoutMs = IDLE_TIMEOUT_MS, signal } = limits;
  const start = (resolve: () => void, reject: (error: unknown) => void): (() => void) => {
    const timer = after(idleTimeoutMs, () => {
      // A pause is our own: whoever made us wait has a time limit too.
      if (request.isPaused()) timer.refresh();
      else reject(new NexusError('deadline_exceeded', `no data came for ${idleTimeoutMs} ms`));
    });
    const onGone = (): void => {
      reject(new NexusError('cancelled', 'the sender went away before the end of the chunk'));
    };
    const onData = (piece: Buffer): void => {
      timer.refresh();
      try {
        const wait = consume(piece);
        if (wait === undefined) return;
        request.pause();
        wait.then(() => request.resume(), reject);
      } catch (error) {
        reject(toNexusError(error));
      }
    };
    // The sender may have gone while room was being made for its chunk: those events are over.
    if (request.destroyed) onGone();
    else request.on('data', onData).on('end', resolve).on('error', onGone).on('close', onGone);
    return () => {
      cancel(timer);
      request.off('data', onData).off('end', resolve).off('error', onGone).off('close', onGone);
    };
  };
  return outcome(start, { signal });
}
