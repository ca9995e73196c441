/**
 * Reads a small body into memory, within a bound of bytes and one of time. koa-body reads the bytes and no more: its own
 * JSON would replace what is not UTF-8, take the last of two members, pass over a body of another type, and refuse
 * `__proto__` in values that are passed on as written. input.ts refuses all of these but the last.
 */
import type { Context } from 'koa';
import { HttpMethodEnum, koaBody } from 'koa-body';
import { within } from '../../shared/async/wait.js';
import { invalid, tooLarge, tooSlow } from './http-error.js';

/** Codes: invalid_argument (400, 413), deadline_exceeded (408). */
export type ReadSmallBody = (context: Context, timeoutMs: number) => Promise<Buffer>;

/** Every byte is one character of it. */
const BYTES = 'latin1';
/** Its reader chooses by the type, which input.ts has judged already. */
const TYPE = 'application/json';

export function smallBodyReader(maxBytes: number): ReadSmallBody {
  const refuse = (error: Error & { readonly type?: unknown }): never => {
    // Otherwise the client went away, or sent what is no body, or not as much as it had announced.
    throw error.type === 'entity.too.large' ? tooLarge('body', maxBytes) : invalid('body', 'broke off');
  };
  const read = koaBody({
    multipart: false,
    urlencoded: false,
    json: false,
    textTypes: [TYPE],
    textLimit: maxBytes,
    encoding: BYTES,
    parsedMethods: Object.values(HttpMethodEnum),
    onError: refuse,
  });
  return async (context, timeoutMs) => {
    // Refused before anything is read, so that nobody sends it in vain; the reader takes the length modulo 2^32.
    if (Number(context.req.headers['content-length'] ?? 0) > maxBytes) throw tooLarge('body', maxBytes);
    context.req.headers['content-type'] = TYPE;
    // After the time the reader goes on until the request ends, as its answer does, and keeps no more than the bound.
    await within(
      timeoutMs,
      undefined,
      async () => {
        await read(context, () => Promise.resolve());
      },
      () => tooSlow('the body'),
    );
    const { body } = context.request as { readonly body?: unknown };
    return Buffer.from(typeof body === 'string' ? body : '', BYTES);
  };
}
