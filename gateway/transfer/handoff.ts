/**
 * Turns a producer that delivers pieces, one at a time, into a generator from which they are taken. Nothing is copied
 * and nothing runs ahead: a delivery settles when the reader asks for the next piece.
 */
import { deferred, onAbort, type Deferred } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';

/** Delivers a piece; resolves when its memory may be used again. */
type Deliver = (piece: Buffer) => Promise<void>;

/**
 * `produce` is called with the first pull. It ends with `signal`, and when the reader stops early; the generator ends
 * after it. Throws what it throws.
 */
export async function* handedOver(
  produce: (deliver: Deliver, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const stop = new AbortController();
  using _gone = onAbort(signal, (reason) => {
    stop.abort(reason);
  });
  let offered: { readonly piece: Buffer; readonly taken: Deferred<void> } | undefined;
  let hasEnded = false;
  // Resolved when a piece is offered, or none will be any more.
  let news = deferred();
  const deliver: Deliver = (piece) => {
    // After the end nobody would take it.
    if (stop.signal.aborted) return Promise.reject(new NexusError('cancelled', 'nobody reads any more'));
    offered = { piece, taken: deferred() };
    news.resolve();
    return offered.taken.promise;
  };
  const producing = produce(deliver, stop.signal).finally(() => {
    hasEnded = true;
    news.resolve();
  });
  // Awaited below. The no-op catch stops Node reporting an unhandled rejection meanwhile.
  producing.catch(() => undefined);
  // Functions, as both change while this waits.
  const given = (): typeof offered => offered;
  const isOver = (): boolean => hasEnded;
  try {
    for (;;) {
      if (given() === undefined && !isOver()) await news.promise;
      news = deferred();
      const next = given();
      if (next === undefined) break;
      yield next.piece;
      offered = undefined;
      next.taken.resolve();
    }
    await producing;
  } finally {
    stop.abort();
    given()?.taken.resolve();
    await producing.catch(() => undefined);
  }
}
