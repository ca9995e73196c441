/**
 * The gateway as a Koa application, which needs no port: frame, headers, errors, routes. Routes are checked and called
 * here; their handlers are in doors/.
 */
import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import Router from '@koa/router';
import Koa, { type Context } from 'koa';
import { z } from 'zod';
import { NexusError } from '../shared/errors.js';
import { OPEN_STREAMS, REQUEST_BYTES, Shares } from '../shared/shares.js';
import type { Logger } from '../shared/log.js';
import { chunks } from './doors/chunks/middleware.js';
import type { ChunkRelay } from './doors/chunks/relay.js';
import type { Controller } from './controller/controller.js';
import { refuseConditions } from './http/conditions.js';
import { EventFeeds } from './controller/event-feeds.js';
import { HttpError } from './http/http-error.js';
import { parseInput, readJson } from './http/input.js';
import type { GatewayLimits } from './http/limits.js';
import { HttpMetrics } from './http/metrics.js';
import { Scrape } from './doors/metrics/scrape.js';
import { errors } from './http/errors.js';
import { refusals } from './http/refusals.js';
import { frame, stateOf } from './http/request.js';
import { cors, securityHeaders } from './http/security.js';
import { smallBodyReader, type ReadSmallBody } from './http/small-body.js';
import { openApiDocument } from './doors/rest/openapi.js';
import { RequestLog } from './http/request-log.js';
import { SMALL_BODY_BYTES, type Input, type Reply, type Route, type Services } from './http/route.js';
import { authRoutes } from './doors/rest/routes/auth.js';
import { documentationRouter } from './doors/rest/routes/documentation.js';
import { eventRoutes } from './doors/rest/routes/events.js';
import { fileRoutes } from './doors/rest/routes/files.js';
import { fsRoutes } from './doors/rest/routes/fs.js';
import { healthRoutes } from './doors/rest/routes/health.js';
import { lambdaRoutes } from './doors/rest/routes/lambda.js';
import { metricsRoutes } from './doors/metrics/routes.js';
import { nodeRoutes } from './doors/rest/routes/nodes.js';
import { bearerToken } from './http/token.js';
import { Transfers } from './transfer/transfers.js';

export interface AppOptions {
  readonly controller: Controller;
  readonly relay: ChunkRelay;
  readonly limits: GatewayLimits;
  readonly log: Logger;
  /** Lines that the gateway's own log has dropped. */
  readonly ownLog: { readonly dropped: number };
  /** Connections that were closed for want of room. */
  readonly connections: { readonly closed: number };
  readonly isTls: boolean;
  readonly corsOrigins: string | undefined;
  readonly proxies: number;
  /** Whether clients of this address get the figures for Prometheus. */
  readonly mayReadMetrics: (address: string) => boolean;
  /** Aborted when the gateway begins to stop. */
  readonly draining: AbortSignal;
}

/** Schema for routes that take no query, or no body. */
const NOTHING = z.strictObject({});
/** Error codes of a client that disconnects while it is answered, or in the middle of its body. */
const GONE: readonly string[] = ['ERR_STREAM_PREMATURE_CLOSE', 'EPIPE', 'ECONNRESET', 'HPE_INVALID_EOF_STATE'];

export function createApp(options: AppOptions): Koa {
  const { controller, limits, log, draining } = options;
  // Each event stream adds a listener.
  setMaxListeners(0, draining);
  const metrics = new HttpMetrics(options.connections);
  const requests = new RequestLog(log);
  const services: Services = {
    limits,
    log,
    draining,
    transfers: new Transfers(controller, limits.transfers),
    feeds: new EventFeeds(controller),
    streams: new Shares(OPEN_STREAMS),
  };
  const bodies = new Shares(REQUEST_BYTES);
  const routes = [
    ...authRoutes,
    ...nodeRoutes,
    ...fileRoutes,
    ...fsRoutes,
    ...lambdaRoutes,
    ...eventRoutes,
    ...healthRoutes,
    ...metricsRoutes(new Scrape(controller, metrics, log, options.ownLog), options.mayReadMetrics),
  ];
  const router = new Router();
  for (const route of routes) addRoute(router, route, { controller, services, bodies });
  const documentation = documentationRouter(openApiDocument(routes));

  const app = new Koa();
  app.on('error', (error: NodeJS.ErrnoException) => {
    // A client that disconnects during an answer is no fault; its request's own log line records it.
    if (!GONE.includes(error.code ?? '')) log.error({ err: error }, 'answering failed');
  });
  app.use(frame({ requests, metrics, proxies: options.proxies }));
  app.use(securityHeaders(options.isTls));
  app.use(cors(options.corsOrigins));
  app.use(errors(requests));
  app.use(refusals);
  app.use(chunks(controller, options.relay));
  app.use(documentation.routes());
  app.use(router.routes());
  app.use(notFound(router));
  return app;
}

interface RouteDeps {
  readonly controller: Controller;
  readonly services: Services;
  /** Bytes of JSON bodies that are held. */
  readonly bodies: Shares;
}

function addRoute(router: Router, route: Route, { controller, services, bodies }: RouteDeps): void {
  const read = smallBodyReader(route.maxBodyBytes);
  router[route.method](route.path, async (context) => {
    const state = stateOf(context);
    state.route = route.path;
    state.asksForToken = !route.isPublic;
    refuseConditions(context, route);
    const token = route.isPublic ? undefined : bearerToken(context.get('authorization'));
    const { address, requestId, signal } = state;
    const session = controller.session({ token, address, requestId, signal });
    // An invalid token must not cause a large body to be read and parsed.
    let client = address;
    if (token !== undefined && route.maxBodyBytes > SMALL_BODY_BYTES) {
      client = (await session.call(session.identity.whoAmI, {})).username;
    }
    // Held until the answer: the body stays in use until then, here and in the controller.
    using _body = bodies.take(client, bodyBytes(context.req, route));
    const input = { ...services, ...(await checked(route, context, read, services)), session, koa: context };
    const reply = await route.handle(input as unknown as Input<never, never, never>);
    if (reply !== undefined) send(context, route, reply);
  });
}

/** Upper bound of the body's bytes. 0 for uploads, and for bodies announced as too large, which are refused unread. */
function bodyBytes({ headers }: IncomingMessage, { upload, maxBodyBytes }: Route): number {
  if (upload !== undefined) return 0;
  if (headers['transfer-encoding'] !== undefined) return maxBodyBytes;
  const announced = Number(headers['content-length'] ?? 0);
  return announced > maxBodyBytes ? 0 : announced;
}

async function checked(
  route: Route,
  context: Context & { params?: unknown },
  read: ReadSmallBody,
  { limits }: Services,
): Promise<{ params: unknown; query: unknown; body: unknown; bodyText: string }> {
  const params = route.params === undefined ? {} : parseInput(route.params, context.params);
  const query = parseInput(route.query ?? NOTHING, { ...context.query });
  if (route.upload !== undefined) return { params, query, body: {}, bodyText: '' };
  // A body is read even if the route takes none, and must then be empty: its sender meant to change something.
  const { value, text } = await readJson(context, read, limits.bodyTimeoutMs);
  return { params, query, body: parseInput(route.body ?? NOTHING, value, 'body'), bodyText: text };
}

function send(context: Context, route: Route, reply: Reply): void {
  context.status = reply.status ?? Number(Object.keys(route.answers)[0]);
  if (reply.headers !== undefined) context.set(reply.headers);
  if (context.status === 204) return;
  if (reply.type !== undefined) context.type = reply.type;
  context.body = reply.body;
}

/** Answers 405 with the allowed methods if the address is known with other methods, otherwise 404. */
function notFound(router: Router): Koa.Middleware {
  return (context) => {
    const { path } = router.match(context.path, context.method);
    const methods = [...new Set(path.flatMap((layer) => layer.methods))];
    if (methods.length > 0) {
      const allowed = methods.join(', ');
      throw new HttpError(405, 'unimplemented', `this address takes ${allowed}`, {}, { Allow: allowed });
    }
    throw new NexusError('not_found', 'there is nothing at this address; /docs shows what there is');
  };
}
