/**
 * Headers that change what a request means and that nothing here honours: refused, since a client that sends them would
 * believe them followed. Those that only state a wish (Accept, Prefer, Want-Digest, TE) are not: the answer shows what
 * was done.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Middleware } from 'koa';
import { HttpError, invalid } from './http-error.js';

const METHOD_OVERRIDES: readonly string[] = ['x-http-method-override', 'x-http-method', 'x-method-override'];

/** Node keeps one of several, or joins them into something else. */
const ONCE: ReadonlySet<string> = new Set([
  'authorization',
  'content-encoding',
  'content-md5',
  'content-type',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'range',
]);

const PLAIN = 'identity';

/** Codes: invalid_argument (400, 415), unimplemented. */
export const refusals: Middleware = async ({ req }, next) => {
  const { headers, rawHeaders } = req;
  for (const name of METHOD_OVERRIDES) {
    if (headers[name] !== undefined) throw invalid(name, 'is not supported; use the method itself');
  }
  if (headers['content-range'] !== undefined)
    throw invalid('content-range', 'parts of a body are not supported; send the whole body');
  const coding = headers['transfer-encoding'];
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked') {
    const problem = 'must be chunked';
    const details = { field: 'transfer-encoding', problem };
    throw new HttpError(501, 'unimplemented', `transfer-encoding: ${problem}`, details);
  }
  refuseCompressed(headers);
  const seen = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? '';
    if (!ONCE.has(name)) continue;
    if (seen.has(name)) throw invalid(name, 'must be given once');
    seen.add(name);
  }
  await next();
};

/**
 * Bodies are taken as they are. One that says it is compressed would be stored, or read as JSON, as what it is not; and
 * nothing is unpacked here, where a few bytes could become many.
 */
function refuseCompressed(headers: IncomingHttpHeaders): void {
  const encoding = headers['content-encoding'];
  if (encoding === undefined) return;
  if (encoding.split(',').every((coding) => ['', PLAIN].includes(coding.trim().toLowerCase()))) {
    // There are several ways to write that nothing was done; readers further in know one.
    headers['content-encoding'] = PLAIN;
    return;
  }
  const problem = 'must be identity: send the body without compressing it';
  const details = { field: 'content-encoding', problem };
  // RFC 9110, 12.5.3: how a server says which ones it takes.
  throw new HttpError(415, 'invalid_argument', `content-encoding: ${problem}`, details, { 'Accept-Encoding': PLAIN });
}
