/**
 * Plans how many bytes an upload reserves of its owner's quota: the announced size, and more only when more chunks are
 * granted than that needs. Without an announced size, all granted chunks count in full. Pure.
 */
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';

export interface Reservation {
  /** Chunks that may be granted; fewer than wanted where the quota ends. */
  readonly count: number;
  /** Bytes that the upload reserves with these chunks. */
  readonly reserved: number;
}

/**
 * As `planReservation` for chunks whose sizes were named, of which `grantedBytes` were granted before: the announced
 * size, or what was granted if that is more. Grants at least one; the store refuses one that exceeds the quota.
 */
export function planNamedReservation(
  upload: { readonly expectedSize: number; readonly grantedBytes: number; readonly reserved: number },
  sizes: readonly number[],
  room: number,
): Reservation {
  const held = (bytes: number): number => Math.max(upload.expectedSize, bytes);
  const more = (count: number): number =>
    held(upload.grantedBytes + sum(sizes.slice(0, count))) - held(upload.grantedBytes);
  let count = sizes.length;
  while (count > 1 && more(count) > room) count -= 1;
  return { count, reserved: upload.reserved + more(count) };
}

const sum = (sizes: readonly number[]): number => sizes.reduce((bytes, size) => bytes + size, 0);

/**
 * `room` is what the quota has left, Infinity without one. If not even one chunk fits but something is left, one is
 * granted and reserves the rest: the file's last chunk may be small, and the commit counts exactly. If nothing is left,
 * `reserved` exceeds the room, and the store refuses it.
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
