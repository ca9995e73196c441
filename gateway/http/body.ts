/**
 * The bytes of a request as they come, for a reader that may be slower than the client. Only the time for which the
 * client lets us wait counts against it: it may pause no longer than `stallMs`, and a trickle is no upload.
 */
import type { IncomingMessage } from 'node:http';
import { within } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
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
