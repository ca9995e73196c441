/**
 * The agent's HTTP/1.1 data server: chunks for holders of a token, status pages for everyone. shared/data-plane.ts
 * describes each route. Time, header size, connections and transfers are bounded.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { systemClock } from '../../shared/async/clock.js';
import { Connections, type ConnectionBounds } from '../../shared/connections.js';
import { PACK_PATH, type ErrorReply } from '../../shared/data-plane.js';
import { meaningOf, NexusError } from '../../shared/errors.js';
import { isChunkId } from '../../shared/ids.js';
import { CHUNK_TOKEN_TTL_MS } from '../../shared/limits.js';
import { LogSampler } from '../../shared/log-sampler.js';
import { plainText } from '../../shared/plain-text.js';
import type { AgentLog } from '../log.js';
import { toAgentError } from '../volume/errors.js';
import { getChunk } from './get.js';
import { putPack, type PackContext } from './pack.js';
import { putChunk, type PutContext } from './put.js';

export interface StatusPage {
  readonly contentType: string;
  /** The page's text; may take a moment. Code: invalid_argument, for a query that it does not understand. */
  render(query: URLSearchParams): Promise<string>;
}

/** Status pages by path: /healthz, /inspect, /chunks, /metrics. Public to all who reach the agent: none is secret. */
export type StatusPages = Readonly<Record<string, StatusPage>>;

const HEADERS_TIMEOUT_MS = 10_000;
/** Longer than clients keep idle connections, so that the client closes first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** Limits connections per address; the host with all its users counts as one. Transfers are fewer, and an idle one gives way. */
const CONNECTIONS: ConnectionBounds = { perPeer: 256, inAll: 512 };
/** A path may be as long as the headers; characters beyond this would add nothing to the log. */
const MAX_LOGGED_PATH = 100;
const RETRY_AFTER_S = '1';
const CHUNKS_PREFIX = '/chunks/';

/** Chunks and status pages. Not listening yet. */
export function createDataServer(context: PackContext, pages: StatusPages): Server {
  const onFailure = (thrown: unknown): void => context.health?.suspect(thrown);
  return boundedServer(context.log, onFailure, async (request, response) => {
    const path = pathOf(request);
    if (path.startsWith(CHUNKS_PREFIX)) await serveChunk(context, path.slice(CHUNKS_PREFIX.length), request, response);
    else if (path === PACK_PATH) await servePack(context, request, response);
    else await servePage(pages, path, request, response);
  });
}

/** Status pages alone, for the Unix socket. Not listening yet. */
export function createStatusServer(log: AgentLog, pages: StatusPages): Server {
  return boundedServer(
    log,
    () => undefined,
    async (request, response) => {
      await servePage(pages, pathOf(request), request, response);
    },
  );
}

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

function boundedServer(log: AgentLog, onFailure: (thrown: unknown) => void, handle: Handler): Server {
  const refusals = new LogSampler(() => systemClock.monotonic());
  const limits = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: CHUNK_TOKEN_TTL_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
  };
  const server = createServer(limits, (request, response) => {
    // Reads and writes report a broken connection themselves; an unhandled error event would end the agent.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    handle(request, response).catch((error: unknown) => {
      onFailure(error);
      const failure = toAgentError(error);
      logFailure(log, refusals, request, failure);
      answerError(request, response, failure);
    });
  });
  new Connections(CONNECTIONS).watch(server);
  return server;
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '/').split('?', 1)[0] ?? '/';

const queryOf = (request: IncomingMessage): URLSearchParams =>
  new URLSearchParams((request.url ?? '').slice(pathOf(request).length));

async function serveChunk(
  context: PutContext,
  chunk: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (!isChunkId(chunk)) throw new NexusError('invalid_argument', 'a chunk id is 32 lower-case hex digits');
  if (request.method === 'PUT') await putChunk(context, chunk, request, response);
  else if (request.method === 'GET' || request.method === 'HEAD') await getChunk(context, chunk, request, response);
  else throw new NexusError('unimplemented', `${request.method ?? ''} is not possible on a chunk`);
}

async function servePack(context: PackContext, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'POST') throw new NexusError('unimplemented', `only POST is possible on ${PACK_PATH}`);
  await putPack(context, request, response);
}

async function servePage(
  pages: StatusPages,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (page === undefined) {
    const shown = plainText(path, MAX_LOGGED_PATH);
    throw new NexusError('not_found', `there is nothing at ${shown}; available: ${Object.keys(pages).join(', ')}`);
  }
  if (request.method !== 'GET' && request.method !== 'HEAD')
    throw new NexusError('unimplemented', `only GET is possible on ${path}`);
  const body = await page.render(queryOf(request));
  response.writeHead(200, { 'content-type': page.contentType, 'content-length': Buffer.byteLength(body) });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** Sampled per peer: anyone who reaches the port can make requests fail, as often as they like. */
function logFailure(log: AgentLog, refusals: LogSampler, request: IncomingMessage, error: NexusError): void {
  const peer = request.socket.remoteAddress ?? 'local';
  const sample = refusals.admit(peer);
  if (sample === undefined) return;
  const { code, message } = error;
  const { method } = request;
  const path = plainText(pathOf(request), MAX_LOGGED_PATH);
  const serious = code === 'internal' || code === 'data_loss';
  const fields = { code, method, path, peer, err: serious ? error : plainText(message), left_out: sample.leftOut };
  log[serious ? 'error' : 'info'](fields, 'request failed');
}

function answerError(request: IncomingMessage, response: ServerResponse, error: NexusError): void {
  if (response.headersSent || response.destroyed) {
    // Too late for a status: breaking the connection is the only sign that the body is not whole.
    response.destroy();
    return;
  }
  const body = JSON.stringify({ error: error.message, code: error.code } satisfies ErrorReply);
  response.writeHead(meaningOf(error.code).http, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...(error.code === 'unavailable' ? { 'retry-after': RETRY_AFTER_S } : {}),
  });
  response.end(body);
  // Drains the rest of the body, so that the sender receives the answer instead of a broken connection.
  request.resume();
}
