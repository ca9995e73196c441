/**
 * Bodies are taken as they are. One that says it is compressed would be stored, or read as JSON, as what it is not; and
 * nothing is unpacked here, where a few bytes could become many.
 */
import type { Middleware } from 'koa';
import { HttpError } from './http-error.js';

const PLAIN = 'identity';

/** Code: invalid_argument (415). */
export const plainBodies: Middleware = async ({ req }, next) => {
  const encoding = req.headers['content-encoding'];
  if (encoding !== undefined && !isPlain(encoding)) throw unsupported();
  await next();
};

const isPlain = (encoding: string): boolean =>
  encoding.split(',').every((coding) => ['', PLAIN].includes(coding.trim().toLowerCase()));

function unsupported(): HttpError {
  const problem = 'must be identity: send the body without compressing it';
  const details = { field: 'content-encoding', problem };
  // RFC 9110, 12.5.3: how a server says which ones it takes.
  return new HttpError(415, 'invalid_argument', `content-encoding: ${problem}`, details, { 'Accept-Encoding': PLAIN });
}
