/**
 * Large bodies in either direction, for a counterpart that may be slower than the client. Only the time for which the
 * client lets us wait counts against it: it may pause no longer than `stallMs`, and a trickle is no upload.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../shared/async/clock.js';
import { after, cancel } from '../../shared/async/timers.js';
import { outcome, within } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { KIB } from '../../shared/limits.js';
import { tooLarge, tooSlow } from './http-error.js';

export interface BodyLimits {
  readonly stallMs: number;
  /** 0: none. */
  readonly maxUploadBytes: number;
}

/** A second; below it a client is cut off as soon as it has been waited for as long as for a stall. */
const LEAST_BYTES_PER_SECOND = KIB;
/** Bytes written at once: a client must accept this much within the time for a stall. */
const PIECE_BYTES = 256 * KIB;

/** Codes: invalid_argument (413), deadline_exceeded (408), cancelled. */
export async function* incomingBytes(request: IncomingMessage, limits: BodyLimits): AsyncGenerator<Buffer> {
  const { stallMs, maxUploadBytes } = limits;
  const most = maxUploadBytes === 0 ? Infinity : maxUploadBytes;
  if (Number(request.headers['content-length'] ?? 0) > most) throw tooLarge('body', most);
  // Without its end the connection would go with the body, and with it the answer.
  const iterator = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  let size = 0;
  let waitedMs = 0;
  for (;;) {
    const before = systemClock.monotonic();
    const next = await within(
      stallMs,
      undefined,
      () => nextOf(iterator),
      () => tooSlow('the body'),
    );
    waitedMs += systemClock.monotonic() - before;
    if (next.done === true) return;
    size += next.value.length;
    if (size > most) throw tooLarge('body', most);
    if (waitedMs > stallMs && size < (waitedMs / 1000) * LEAST_BYTES_PER_SECOND) throw tooSlow('the body');
    yield next.value;
  }
}

const nextOf = (iterator: AsyncIterator<Buffer>): Promise<IteratorResult<Buffer>> =>
  iterator.next().catch((error: unknown) => {
    throw new NexusError('cancelled', 'the body broke off', {}, { cause: error });
  });

/**
 * Sends the pieces and ends the answer. A piece is asked for when the socket no longer needs the one before, as its
 * memory may be used again then. Codes: deadline_exceeded, cancelled (the client disconnected), those of the pieces.
 */
export async function sendPieces(res: ServerResponse, pieces: AsyncIterable<Buffer>, stallMs: number): Promise<void> {
  for await (const piece of pieces)
    for (let at = 0; at < piece.length; at += PIECE_BYTES)
      await write(res, piece.subarray(at, at + PIECE_BYTES), stallMs);
  res.end();
}

function write(res: ServerResponse, piece: Buffer, stallMs: number): Promise<void> {
  return outcome((resolve, reject) => {
    let failure = new NexusError('cancelled', 'the client went away');
    const timer = after(stallMs, () => {
      failure = tooSlow('the client receives nothing; the download');
      // An error can't be reported any more. The promise rejects on 'close': until then the socket may still send the
      // buffer.
      res.destroy();
    });
    const onClose = (): void => reject(failure);
    if (res.closed) onClose();
    else {
      res.once('close', onClose);
      res.write(piece, (error) => {
        // Without a failure it is undefined or null; after one, 'close' follows.
        if (!(error instanceof Error)) resolve();
      });
    }
    return () => {
      cancel(timer);
      res.off('close', onClose);
    };
  });
}
