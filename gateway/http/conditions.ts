/**
 * Conditional requests (RFC 9110, 13). Downloads evaluate conditions; other addresses have nothing to compare with, and
 * refuse conditions that, if ignored, would allow what the client wants to prevent. Those that can be ignored without
 * harm (cache validation, ranges) are ignored.
 */
import type { Context } from 'koa';
import { HttpError } from './http-error.js';
import type { Route } from './route.js';

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
    if (!isSame) throw failed('if-match', 'the content is another one');
  } else if (unmodified !== '') {
    const since = Date.parse(unmodified);
    if (Number.isNaN(since)) throw failed('if-unmodified-since', 'must be a date of HTTP');
    const at = lastModified as Date | undefined;
    if (at === undefined) throw failed('if-unmodified-since', 'cannot be checked for a path; use If-Match');
    if (at.getTime() > since) throw failed('if-unmodified-since', 'the content is newer');
  }
  // Koa's own `fresh` treats Cache-Control: no-cache as a request for the content; it is meant for caches, and fetch
  // sends it.
  const noneMatch = context.get('if-none-match');
  if (noneMatch !== '')
    return noneMatch.trim() === '*' || noneMatch.split(',').some((given) => isWeaklySame(given, etag));
  const modified = Date.parse(context.get('if-modified-since'));
  const at = lastModified as Date | undefined;
  return at !== undefined && at.getTime() <= modified;
}

const isWeaklySame = (given: string, etag: string): boolean => given.trim().replace(/^W\//, '') === etag;

/** Whether Range applies: If-Range is absent or names this very content. */
export function hasPart(context: Context): boolean {
  const condition = context.get('if-range');
  const { etag } = context.response;
  return condition === '' || condition === etag || condition === context.response.get('last-modified');
}

export const failed = (name: string, problem: string): HttpError =>
  new HttpError(412, 'failed_precondition', `${name}: ${problem}`, { field: name, problem });
