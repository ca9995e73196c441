/**
 * Conditional requests and ranges (RFC 9110, 13 and 14). Downloads evaluate them; other addresses have nothing to
 * compare with, and refuse conditions that, if ignored, would allow what the client wants to prevent. Those that can be
 * ignored without harm (cache validation, ranges) are ignored.
 */
import fresh from 'fresh';
import type { Context } from 'koa';
import { HttpError } from './http-error.js';
import type { Route } from './route.js';
import type { ByteRange } from '../transfer/port.js';

/** Conditions refused on reads. The others only save the client a transfer, so ignoring them does no harm. */
const OF_READS: readonly string[] = ['if-match', 'if-unmodified-since'];
const OF_WRITES: readonly string[] = [...OF_READS, 'if-none-match'];

/** Code: failed_precondition (412). */
export function refuseConditions(context: Context, { method, conditions = 'none' }: Route): void {
  if (conditions === 'evaluated') return;
  const names = method === 'get' ? OF_READS : OF_WRITES;
  for (const name of names) {
    const given = context.get(name);
    if (given === '' || (conditions === 'if new' && isOnlyIfNew(context) && name === 'if-none-match')) continue;
    throw failed(name, 'cannot be checked at this address; leave it out');
  }
}

/** The one condition that uploads to a path accept: that nothing exists there yet. */
export const isOnlyIfNew = (context: Context): boolean => context.get('if-none-match').trim() === '*';

/**
 * Whether the client already has the content of a download. Call after ETag and, if there is one, Last-Modified are
 * set. Code: failed_precondition (412).
 */
export function isNotModified(context: Context): boolean {
  const { etag, lastModified } = context.response;
  const match = context.get('if-match');
  const unmodified = context.get('if-unmodified-since');
  if (match !== '') {
    // Strong comparison: a weak ETag never matches.
    const isSame = match.trim() === '*' || match.split(',').some((given) => given.trim() === etag);
    if (!isSame) throw failed('if-match', 'the content is different');
  } else if (unmodified !== '') {
    const since = Date.parse(unmodified);
    if (Number.isNaN(since)) throw failed('if-unmodified-since', 'must be a date of HTTP');
    const at = lastModified as Date | undefined;
    if (at === undefined) throw failed('if-unmodified-since', 'cannot be checked for a path; use If-Match');
    if (at.getTime() > since) throw failed('if-unmodified-since', 'the content is newer');
  }
  // Not Koa's own `fresh`: it treats Cache-Control: no-cache as a request for the content, which is meant for caches and
  // sent by fetch, and wants both conditions to hold, of which If-None-Match alone counts.
  const noneMatch = context.get('if-none-match').trim();
  const given =
    noneMatch === '' ? { 'if-modified-since': context.get('if-modified-since') } : { 'if-none-match': noneMatch };
  return fresh(given, { etag, 'last-modified': context.response.get('last-modified') });
}

/** Whether Range applies: If-Range is absent or names this very content. */
export function hasPart(context: Context): boolean {
  const condition = context.get('if-range');
  const { etag } = context.response;
  return condition === '' || condition === etag || condition === context.response.get('last-modified');
}

export const failed = (name: string, problem: string): HttpError =>
  new HttpError(412, 'failed_precondition', `${name}: ${problem}`, { field: name, problem });

/**
 * Parses the Range header of a GET: one range is served; several, or an invalid one, mean the whole file, as undefined.
 * The grammar has no spaces. Numbers too large to be exact are beyond any file. Code: invalid_argument (416).
 */
export function parseRange(header: string, size: number): ByteRange | undefined {
  const found = /^bytes=(\d{0,40})-(\d{0,40})$/i.exec(header);
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
