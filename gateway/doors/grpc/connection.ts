/**
 * One client's HTTP/2 connection, and the connection to the controller that its calls share. It is closed when its
 * client is gone (a ping remains unanswered), and when no call runs for a while: each open one costs memory here and a
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
import { after, cancel, every } from '../../../shared/async/timers.js';
import { systemClock } from '../../../shared/async/clock.js';
import { NexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import type { Shares } from '../../../shared/shares.js';
import {
  AS_USER_METADATA,
  AUTHORIZATION_METADATA,
  CLIENT_ADDRESS_METADATA,
  REQUEST_ID_METADATA,
} from '../../../shared/rpc/status.js';
import type { RequestLog } from '../../http/request-log.js';
import { Call } from './call.js';
import { GRPC_CONTENT_TYPE, refuse } from './status.js';

export interface ConnectionBounds {
  /** Time that a connection without a call stays open, once it has made one, ms. */
  readonly idleMs: number;
  /** Time within which the first call must come, ms. */
  readonly firstCallMs: number;
  /** Time between pings, ms. */
  readonly pingMs: number;
  /** Time within which a ping must be answered, and a closed connection must be gone, ms. */
  readonly answerMs: number;
}

export interface ConnectionDeps {
  /** The controller's socket on which tokens are required. */
  readonly socketPath: string;
  readonly log: Logger;
  readonly requests: RequestLog;
  readonly firstMessageMs: number;
  /** Finds the client's address from that of its connection and X-Forwarded-For. */
  readonly addressOf: (direct: string, forwardedFor: string) => string;
  readonly bounds: ConnectionBounds;
  /** Bytes of requests that are held, by the connection's remote address. */
  readonly bodies: Shares;
}

/**
 * Services of this project only. Others on the controller's socket are for the host, and ExchangeService for the
 * gateway.
 */
const METHOD = /^\/nexus\.v1\.(?!ExchangeService\/)[A-Za-z]{1,64}\/[A-Za-z]{1,64}$/;
/** Reserved for the gateway: it answers /metrics with it, and restricts the addresses that may read it. */
const FIGURES = '/nexus.v1.MetricsService/GetClusterMetrics';
/** Some of these methods answer without a token, so their success proves none. */
const OPEN = /^\/nexus\.v1\.(IdentityService\/|ClusterService\/GetReadiness$)/;
const OK = '0';
/** Calls that do not end by themselves: the gateway ends them when it stops. */
const ENDLESS: ReadonlySet<string> = new Set([
  '/nexus.v1.ClusterService/WatchEvents',
  '/nexus.v1.MetricsService/WatchNodeMetrics',
  '/nexus.v1.NodeService/ExecInNode',
  '/nexus.v1.NodeService/GetNodeLogs',
]);
/** Calls whose requests are streams, read only as fast as they are used. */
const STREAMING: ReadonlySet<string> = new Set([
  '/nexus.v1.NodeService/ExecInNode',
  '/nexus.v1.ImageService/ImportImage',
  '/nexus.v1.StateService/ImportState',
]);
const SILENT = 'the controller does not answer; check whether it runs, and try again';
/** The same pattern as the controller's. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
const TIMEOUT = /^\d{1,8}[HMSmun]$/;

export class Connection {
  /** Running calls with their methods. */
  readonly #calls = new Map<Call, string>();
  readonly #direct: string;
  #controller: ClientHttp2Session | undefined;
  /** Closes the connection; runs while there is no call. */
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
    // Errors of a connection concern only its client.
    session.on('error', () => undefined);
    const pinging = every(deps.bounds.pingMs, () => {
      this.#ping();
      this.#pingController();
    }).unref();
    session.once('close', () => {
      cancel(pinging);
      cancel(this.#ending);
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
    // A closed session waits for its client to disconnect, and an unresponsive one never does.
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
    const startedAt = systemClock.monotonic();
    const requestId = idOf(headers);
    const call = new Call(stream, {
      begin: (outgoing) => this.#toController().request(outgoing),
      firstMessageMs: this.deps.firstMessageMs,
      hold: STREAMING.has(method) ? undefined : (bytes) => this.deps.bodies.take(this.#direct, bytes),
    });
    this.#calls.set(call, method);
    cancel(this.#ending);
    try {
      const outgoing = this.#headers(method, requestId, headers);
      const status = await call.run(outgoing);
      const isTrusted = status === OK && !OPEN.test(method);
      this.deps.requests.write(
        { message: 'call', address: String(outgoing[CLIENT_ADDRESS_METADATA]), isTrusted },
        { requestId, method, status, ms: Math.round(systemClock.monotonic() - startedAt) },
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

  /** Returns the connection to the controller; makes a new one after the controller has gone. */
  #toController(): ClientHttp2Session {
    const known = this.#controller;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const { socketPath } = this.deps;
    const session = connect('http://controller', { createConnection: () => connectSocket(socketPath) });
    // Each call reports the failure itself.
    session.on('error', () => undefined);
    this.#controller = session;
    return session;
  }

  /** Disconnects a client that does not answer a ping: it would not take its calls' answers either. */
  #ping(): void {
    const { session, deps } = this;
    if (session.destroyed) return;
    const silent = after(deps.bounds.answerMs, () => this.destroy()).unref();
    session.ping(() => {
      cancel(silent);
    });
  }

  /**
   * Fails the running calls if the controller does not answer a ping: when it hangs, the connection stays open but
   * silent.
   */
  #pingController(): void {
    const session = this.#controller;
    if (session === undefined || session.closed || session.destroyed || this.#calls.size === 0) return;
    const silent = after(this.deps.bounds.answerMs, () => {
      for (const call of this.#calls.keys()) call.fail(new NexusError('unavailable', SILENT));
      session.destroy();
    }).unref();
    session.ping(() => {
      cancel(silent);
    });
  }

  /** Closes the connection after `ms`. A proper client then disconnects; any other is cut off `answerMs` later. */
  #endAfter(ms: number): void {
    const { session, deps } = this;
    cancel(this.#ending);
    if (session.destroyed) return;
    this.#ending = after(ms, () => {
      if (!session.closed) session.close();
      this.#ending = after(deps.bounds.answerMs, () => this.destroy()).unref();
    }).unref();
  }
}

/** Returns the refusal of metadata that changes what a call means and can't be passed on unchecked, if there is any. */
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
