/**
 * One client's HTTP/2 connection, and the connection to the controller that its calls share. It ends when its client has
 * gone, as a ping without an answer tells, and when nothing is called: each one that is open costs memory here and a
 * connection there.
 */
import {
  connect,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { randomBytes } from 'node:crypto';
import { connect as connectSocket, type Socket } from 'node:net';
import { NexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import type { Shares } from '../../shared/shares.js';
import {
  AS_USER_METADATA,
  AUTHORIZATION_METADATA,
  CLIENT_ADDRESS_METADATA,
  REQUEST_ID_METADATA,
} from '../../shared/rpc/status.js';
import type { RequestLog } from '../request-log.js';
import { Call } from './call.js';
import { GRPC_CONTENT_TYPE, refuse } from './status.js';

export interface ConnectionBounds {
  /** For which one without a call stays open, once it has made one, ms. */
  readonly idleMs: number;
  /** Within which the first call must come, ms. */
  readonly firstCallMs: number;
  /** Between pings, ms. */
  readonly pingMs: number;
  /** Within which a ping is answered, and a connection that was closed is gone, ms. */
  readonly answerMs: number;
}

export interface ConnectionDeps {
  /** The controller's socket that asks for tokens. */
  readonly socketPath: string;
  readonly log: Logger;
  readonly requests: RequestLog;
  readonly firstMessageMs: number;
  /** The client's address, of its connection's and what proxies say of it. */
  readonly addressOf: (direct: string, forwardedFor: string) => string;
  readonly bounds: ConnectionBounds;
  /** Bytes of requests that are held, by the client's address. */
  readonly bodies: Shares;
}

/** Services of this project alone: what else the controller's socket has is for the host, and one is for the gateway. */
const METHOD = /^\/nexus\.v1\.(?!ExchangeService\/)[A-Za-z]{1,64}\/[A-Za-z]{1,64}$/;
/** The gateway's own: it answers /metrics with it, and asks from where. */
const FIGURES = '/nexus.v1.MetricsService/GetClusterMetrics';
/** Some of their methods answer without a token. */
const OPEN = /^\/nexus\.v1\.(IdentityService\/|ClusterService\/GetReadiness$)/;
const OK = '0';
/** They end when somebody ends them: the gateway does when it stops. */
const ENDLESS: ReadonlySet<string> = new Set([
  '/nexus.v1.ClusterService/WatchEvents',
  '/nexus.v1.MetricsService/WatchNodeMetrics',
  '/nexus.v1.NodeService/ExecInNode',
  '/nexus.v1.NodeService/GetNodeLogs',
]);
/** Their requests are streams, taken as fast as they are used. */
const STREAMING: ReadonlySet<string> = new Set([
  '/nexus.v1.NodeService/ExecInNode',
  '/nexus.v1.ImageService/ImportImage',
  '/nexus.v1.StateService/ImportState',
]);
const SILENT = 'the controller does not answer; see nexus status where it runs, and try again';
/** The same as the controller accepts. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
const TIMEOUT = /^\d{1,8}[HMSmun]$/;

export class Connection {
  /** With their methods. */
  readonly #calls = new Map<Call, string>();
  readonly #direct: string;
  #controller: ClientHttp2Session | undefined;
  /** Runs while there is no call. */
  #ending: NodeJS.Timeout | undefined;

  constructor(
    private readonly session: ServerHttp2Session,
    private readonly socket: Socket,
    private readonly deps: ConnectionDeps,
  ) {
    this.#direct = socket.remoteAddress ?? '';
    session.on('stream', (stream, headers) => {
      this.#call(stream, headers).catch((error: unknown) => {
        deps.log.error({ err: error }, 'passing a call on failed');
        stream.destroy();
      });
    });
    // What is wrong with a connection is its client's to know.
    session.on('error', () => undefined);
    const pinging = setInterval(() => {
      this.#ping();
      this.#pingController();
    }, deps.bounds.pingMs).unref();
    session.once('close', () => {
      clearInterval(pinging);
      clearTimeout(this.#ending);
      this.#controller?.destroy();
    });
    this.#endAfter(deps.bounds.firstCallMs);
  }

  get running(): number {
    return this.#calls.size;
  }

  drain(): void {
    for (const [call, method] of this.#calls) {
      if (ENDLESS.has(method)) call.fail(new NexusError('unavailable', 'the gateway stops; try again in a moment'));
    }
    if (!this.session.closed) this.session.close();
  }

  destroy(): void {
    this.session.destroy();
    // A session that was closed waits for its client to hang up, and a deaf one never does.
    this.socket.destroy();
  }

  async #call(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const method = headers[':path'] ?? '';
    if (headers['content-type']?.startsWith(GRPC_CONTENT_TYPE) !== true || headers[':method'] !== 'POST') {
      stream.respond({ ':status': 415 }, { endStream: true });
      return;
    }
    if (!METHOD.test(method)) {
      refuse(stream, new NexusError('unimplemented', 'there is no such call'));
      return;
    }
    if (method === FIGURES) {
      refuse(stream, new NexusError('permission_denied', 'the figures of the cluster are at /metrics'));
      return;
    }
    const unfit = unfitFor(headers);
    if (unfit !== undefined) {
      refuse(stream, unfit);
      return;
    }
    const startedAt = performance.now();
    const requestId = idOf(headers);
    const call = new Call(stream, {
      begin: (outgoing) => this.#toController().request(outgoing),
      firstMessageMs: this.deps.firstMessageMs,
      hold: STREAMING.has(method) ? undefined : (bytes) => this.deps.bodies.take(this.#direct, bytes),
    });
    this.#calls.set(call, method);
    clearTimeout(this.#ending);
    try {
      const outgoing = this.#headers(method, requestId, headers);
      const status = await call.run(outgoing);
      const isTrusted = status === OK && !OPEN.test(method);
      this.deps.requests.write(
        { message: 'call', address: String(outgoing[CLIENT_ADDRESS_METADATA]), isTrusted },
        { requestId, method, status, ms: Math.round(performance.now() - startedAt) },
      );
    } finally {
      this.#calls.delete(call);
      if (this.#calls.size === 0) this.#endAfter(this.deps.bounds.idleMs);
    }
  }

  #headers(method: string, requestId: string, given: IncomingHttpHeaders): OutgoingHttpHeaders {
    const address = this.deps.addressOf(this.#direct, textOf(given['x-forwarded-for']));
    const timeout = textOf(given['grpc-timeout']);
    return {
      ':method': 'POST',
      ':path': method,
      'content-type': GRPC_CONTENT_TYPE,
      te: 'trailers',
      ...(given.authorization === undefined ? {} : { [AUTHORIZATION_METADATA]: given.authorization }),
      ...(timeout === '' ? {} : { 'grpc-timeout': timeout }),
      [CLIENT_ADDRESS_METADATA]: address,
      [REQUEST_ID_METADATA]: requestId,
    };
  }

  /** Connects again after the controller has gone. */
  #toController(): ClientHttp2Session {
    const known = this.#controller;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const { socketPath } = this.deps;
    const session = connect('http://controller', { createConnection: () => connectSocket(socketPath) });
    // Each call is told by itself.
    session.on('error', () => undefined);
    this.#controller = session;
    return session;
  }

  /** A client that is there answers whatever it does; one that does not will not take its calls' answers either. */
  #ping(): void {
    const { session, deps } = this;
    if (session.destroyed) return;
    const silent = setTimeout(() => {
      this.destroy();
    }, deps.bounds.answerMs).unref();
    session.ping(() => {
      clearTimeout(silent);
    });
  }

  /** A controller that hangs keeps the connection and says nothing on it; who waits for it is told so. */
  #pingController(): void {
    const session = this.#controller;
    if (session === undefined || session.closed || session.destroyed || this.#calls.size === 0) return;
    const silent = setTimeout(() => {
      for (const call of this.#calls.keys()) call.fail(new NexusError('unavailable', SILENT));
      session.destroy();
    }, this.deps.bounds.answerMs).unref();
    session.ping(() => {
      clearTimeout(silent);
    });
  }

  /** A client that knows what it is told goes by itself. */
  #endAfter(ms: number): void {
    const { session, deps } = this;
    clearTimeout(this.#ending);
    if (session.destroyed) return;
    this.#ending = setTimeout(() => {
      if (!session.closed) session.close();
      this.#ending = setTimeout(() => {
        this.destroy();
      }, deps.bounds.answerMs).unref();
    }, ms).unref();
  }
}

/** Metadata that changes what a call means, and is not passed on as it is. */
function unfitFor(headers: IncomingHttpHeaders): NexusError | undefined {
  const timeout = headers['grpc-timeout'];
  if (timeout !== undefined && !TIMEOUT.test(textOf(timeout)))
    return new NexusError('invalid_argument', 'grpc-timeout: must be up to eight digits and one of H, M, S, m, u, n');
  if (timeout !== undefined && /^0+[HMSmun]$/.test(textOf(timeout)))
    return new NexusError('deadline_exceeded', 'the call came with no time left; send it again');
  if (headers[AS_USER_METADATA] !== undefined)
    return new NexusError('permission_denied', '--as is for the admin socket; log in as that user instead');
  return undefined;
}

const textOf = (value: string | string[] | undefined): string => (typeof value === 'string' ? value : '');

function idOf(headers: IncomingHttpHeaders): string {
  const given = textOf(headers[REQUEST_ID_METADATA]);
  return REQUEST_ID.test(given) ? given : randomBytes(8).toString('hex');
}
