/** Headers that tell browsers what they may do with what comes from here, and which pages may ask for it. */
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import helmet from 'helmet';
import type { Middleware } from 'koa';

/** Nothing that is answered here is a page; the documentation sets a policy of its own. */
const NO_PAGE = { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"] };
const PREFLIGHT_SECONDS = 600;
const METHODS = 'GET, HEAD, POST, DELETE';
const REQUEST_HEADERS =
  'Authorization, Content-Digest, Content-MD5, Content-Type, Digest, If-Match, If-None-Match, If-Range, Last-Event-ID, Range, Repr-Digest, X-Request-Id';
const RESPONSE_HEADERS = 'Accept-Ranges, Content-Disposition, Content-Range, ETag, Retry-After, X-Request-Id';

/** Helmet chooses them, once: they are the same for every answer. */
function headersOf(isTls: boolean): readonly (readonly [string, string])[] {
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  helmet({
    contentSecurityPolicy: { useDefaults: false, directives: NO_PAGE },
    crossOriginResourcePolicy: { policy: 'cross-origin' },
    // Over plain HTTP browsers ignore it, and it would outlive a switch back from TLS.
    strictTransportSecurity: isTls,
  })(request, response, (error) => {
    if (error !== undefined) throw error as Error;
  });
  return Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]);
}

export function securityHeaders(isTls: boolean): Middleware {
  const headers = headersOf(isTls);
  return (context, next) => {
    for (const [name, value] of headers) context.res.setHeader(name, value);
    return next();
  };
}

/** `origins`: with commas between; `*` for all; undefined: pages of other origins get nothing. */
export function cors(origins: string | undefined): Middleware {
  const allowed = new Set((origins ?? '').split(',').filter((origin) => origin !== ''));
  return async (context, next) => {
    const origin = context.get('origin');
    context.vary('Origin');
    if (origin === '' || !(allowed.has('*') || allowed.has(origin))) {
      await next();
      return;
    }
    context.set('Access-Control-Allow-Origin', allowed.has('*') ? '*' : origin);
    context.set('Access-Control-Expose-Headers', RESPONSE_HEADERS);
    if (context.method === 'OPTIONS' && context.get('access-control-request-method') !== '') {
      context.set('Access-Control-Allow-Methods', METHODS);
      context.set('Access-Control-Allow-Headers', REQUEST_HEADERS);
      context.set('Access-Control-Max-Age', String(PREFLIGHT_SECONDS));
      context.status = 204;
      return;
    }
    await next();
  };
}
