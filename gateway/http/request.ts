/**
 * Every request's frame: its id (the client's own where it is well-formed), the signal that is aborted when the client
 * goes away, one line in the log at the end, and the counters.
 */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Context, Middleware } from 'koa';
import { systemClock } from '../../shared/async/clock.js';
import { clientAddress } from './client-address.js';
import type { HttpMetrics } from './metrics.js';
import type { RequestLog } from './request-log.js';

export interface RequestState {
  readonly requestId: string;
  readonly signal: AbortSignal;
  readonly address: string;
  /** The pattern of the route that it took, for the counters. */
  route: string;
  /** Whether that route answers nobody without a good token. */
  asksForToken: boolean;
}

/** The same as the controller accepts. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
export const UNMATCHED = 'unmatched';
const HEALTH_ROUTE = '/healthz';

export const stateOf = ({ state }: Context): RequestState => state;

export function frame(deps: {
  readonly requests: RequestLog;
  readonly metrics: HttpMetrics;
  /** Reverse proxies in front. */
  readonly proxies: number;
}): Middleware {
  return (context, next) => {
    const given = context.get('x-request-id');
    const requestId = REQUEST_ID.test(given) ? given : randomUUID();
    const gone = new AbortController();
    // Each call to the controller listens while it runs, and a transfer has many.
    setMaxListeners(0, gone.signal);
    const state: RequestState = {
      requestId,
      signal: gone.signal,
      address: clientAddress(context.req.socket.remoteAddress ?? '', context.get('x-forwarded-for'), deps.proxies),
      route: UNMATCHED,
      asksForToken: false,
    };
    Object.assign(context.state, state);
    context.set('X-Request-Id', requestId);
    const startedAt = systemClock.monotonic();
    deps.metrics.begin();
    context.res.once('close', () => {
      if (!context.res.writableFinished) gone.abort();
      const seconds = (systemClock.monotonic() - startedAt) / 1000;
      const status = context.res.writableFinished ? context.res.statusCode : CLIENT_CLOSED;
      const { route, address, asksForToken } = stateOf(context);
      deps.metrics.end({ method: context.method, route, status }, seconds);
      const line = { requestId, method: context.method, route, status, ms: Math.round(seconds * 1000) };
      // A supervisor asks every few seconds, and nobody wants to read that all is well.
      const level = route === HEALTH_ROUTE && status === 200 ? { level: 'debug' as const } : {};
      deps.requests.write({ message: 'request', address, isTrusted: asksForToken && status < 400, ...level }, line);
    });
    return next();
  };
}

/** As the table of errors has it for `cancelled`. */
const CLIENT_CLOSED = 499;
