/** Parses the Range header (RFC 9110): one range is served; several, or an invalid one, mean the whole file. */
import { HttpError } from './http-error.js';

export interface ByteRange {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** Undefined: the whole file. Numbers too large to be exact are beyond any file. Code: invalid_argument (416). */
export function parseRange(header: string, size: number): ByteRange | undefined {
  const found = /^bytes=(\d{0,40})-(\d{0,40})$/.exec(header.replaceAll(' ', ''));
  const [, first = '', last = ''] = found ?? [];
  if (found === null || (first === '' && last === '')) return undefined;
  if (first === '') {
    const length = Math.min(Number(last), size);
    if (length === 0) throw unsatisfiable(size);
    return { start: size - length, end: size };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= size) throw unsatisfiable(size);
  return { start, end: last === '' ? size : Math.min(Number(last) + 1, size) };
}

const unsatisfiable = (size: number): HttpError =>
  new HttpError(
    416,
    'invalid_argument',
    `range: the file has ${size} bytes`,
    { field: 'range', problem: `the file has ${size} bytes` },
    { 'Content-Range': `bytes */${size}` },
  );
