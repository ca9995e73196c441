/** What part of a file a request asks for (RFC 9110): one range; several, or one that makes no sense, are the whole. */
import { HttpError } from './http-error.js';

export interface ByteRange {
  readonly start: number;
  /** The one after the last. */
  readonly end: number;
}

/** Undefined: all of it. Numbers that are too large to be exact lie beyond any file. Code: 416. */
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
