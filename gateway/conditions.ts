/**
 * Conditions of requests (RFC 9110, 13). Downloads evaluate them; other addresses have nothing to compare with, and
 * refuse those whose absence would let through what the client wants to prevent. What may be left out without harm
 * (validation of caches, ranges) is.
 */
import type { Context } from 'koa';
import { HttpError } from './http-error.js';
import type { Route } from './route.js';

/** Of reads: without them a client gets no more than it asked for to be spared. */
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

/** The one condition of uploads to a path: that there is nothing yet. */
export const isOnlyIfNew = (context: Context): boolean => context.get('if-none-match').trim() === '*';

/**
 * Of a download whose ETag, and Last-Modified where it has one, are set: whether the client has it already.
 * Code: failed_precondition (412).
 */
export function isNotModified(context: Context): boolean {
  const { etag, lastModified } = context.response;
  const match = context.get('if-match');
  const unmodified = context.get('if-unmodified-since');
  if (match !== '') {
    // Strong comparison: what is only as good as the same is not it.
    const isSame = match.trim() === '*' || match.split(',').some((given) => given.trim() === etag);
    if (!isSame) throw failed('if-match', 'the content is another one');
  } else if (unmodified !== '') {
    const since = Date.parse(unmodified);
    if (Number.isNaN(since)) throw failed('if-unmodified-since', 'must be a date of HTTP');
    const at = lastModified as Date | undefined;
    if (at === undefined) throw failed('if-unmodified-since', 'cannot be checked for a path; use If-Match');
    if (at.getTime() > since) throw failed('if-unmodified-since', 'the content is newer');
  }
  // Koa's own `fresh` takes Cache-Control: no-cache for a wish for the content; it is for caches, and fetch sends it along.
  const noneMatch = context.get('if-none-match');
  if (noneMatch !== '')
    return noneMatch.trim() === '*' || noneMatch.split(',').some((given) => isWeaklySame(given, etag));
  const modified = Date.parse(context.get('if-modified-since'));
  const at = lastModified as Date | undefined;
  return at !== undefined && at.getTime() <= modified;
}

const isWeaklySame = (given: string, etag: string): boolean => given.trim().replace(/^W\//, '') === etag;

/** Whether Range counts: the client has a part of this very content. */
export function hasPart(context: Context): boolean {
  const condition = context.get('if-range');
  const { etag } = context.response;
  return condition === '' || condition === etag || condition === context.response.get('last-modified');
}

export const failed = (name: string, problem: string): HttpError =>
  new HttpError(412, 'failed_precondition', `${name}: ${problem}`, { field: name, problem });
