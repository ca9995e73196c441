/**
 * What an upload holds of its owner's quota: what it says it needs, and more only when it is granted more. Without a size
 * it holds what it was granted. Pure.
 */
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';

export interface Reservation {
  /** Chunks that may be granted; less than wanted where the quota ends. */
  readonly count: number;
  /** What the upload holds then. */
  readonly reserved: number;
}

/**
 * `room` is what the quota has left, Infinity without one. Where not even one chunk fits but something is left, one is
 * granted and holds that: the file's last may be small, and the commit counts exactly. `reserved` exceeds the room, and is
 * refused by whoever keeps the account, where nothing is left.
 */
export function planReservation(
  upload: { readonly expectedSize: number; readonly granted: number; readonly reserved: number },
  wanted: number,
  room: number,
): Reservation {
  const held = (granted: number): number => {
    if (upload.expectedSize === 0) return granted * CHUNK_SIZE_BYTES;
    const beyond = Math.max(0, granted - Math.ceil(upload.expectedSize / CHUNK_SIZE_BYTES));
    return upload.expectedSize + beyond * CHUNK_SIZE_BYTES;
  };
  const more = (count: number): number => held(upload.granted + count) - held(upload.granted);
  let count = wanted;
  while (count > 1 && more(count) > room) count -= 1;
  const needed = more(count);
  return { count, reserved: upload.reserved + (needed > room && room > 0 ? room : needed) };
}
