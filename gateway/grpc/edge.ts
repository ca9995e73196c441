/**
 * gRPC on the gateway's port, for command lines on other machines. Each client's connection has a connection to the
 * controller of its own, made with its first call: a client that does not take what it asked for holds up nobody else,
 * and one that goes away takes all its calls along. Of what a client sends along only its token and its deadline reach the
 * controller, which decides about every call.
 */
import { randomBytes } from 'node:crypto';
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';
import { NexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { AUTHORIZATION_METADATA, CLIENT_ADDRESS_METADATA, REQUEST_ID_METADATA } from '../../shared/rpc/status.js';
import { Call } from './call.js';
import { GRPC_CONTENT_TYPE, refuse } from './status.js';

export interface GrpcDeps {
  /** The controller's socket that asks for tokens. */
  readonly socketPath: string;
  readonly log: Logger;
  readonly firstMessageMs: number;
  /** The client's address, of its connection's and what proxies say of it. */
  readonly addressOf: (direct: string, forwardedFor: string) => string;
}

/** More than one command line ever has; what comes beyond it waits at the client. */
const MAX_STREAMS = 100;
const MAX_HEADER_BYTES = 16 * 1024;
/** Of frames that wait to be sent to one client, MB; what is more belongs to nobody honest. */
const MAX_SESSION_MEMORY_MB = 8;
/** A connection without a call is closed. */
const IDLE_MS = 5 * 60 * 1000;
/** Finds clients whose machine has gone: without it their calls would wait for ever. */
const TCP_KEEP_ALIVE_MS = 60_000;

/** Services of this project alone: what else the controller's socket has is for the host, and one is for the gateway. */
const METHOD = /^\/nexus\.v1\.(?!ExchangeService\/)[A-Za-z]{1,64}\/[A-Za-z]{1,64}$/;
/** They end when somebody ends them: the gateway does when it stops. */
const ENDLESS: ReadonlySet<string> = new Set([
  '/nexus.v1.ClusterService/WatchEvents',
  '/nexus.v1.MetricsService/WatchNodeMetrics',
  '/nexus.v1.NodeService/ExecInNode',
  '/nexus.v1.NodeService/GetNodeLogs',
]);
/** The gateway's own: it answers /metrics with it, and asks from where. */
const FIGURES = '/nexus.v1.MetricsService/GetClusterMetrics';
/** The same as the controller accepts. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
const TIMEOUT = /^\d{1,8}[HMSmun]$/;

export class GrpcEdge {
  readonly #server = createServer({
    settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES, enablePush: false },
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
  });
  readonly #connections = new Set<Connection>();
  #isDraining = false;

  constructor(private readonly deps: GrpcDeps) {
    this.#server.on('session', (session) => {
      const connection = new Connection(session, this.deps);
      this.#connections.add(connection);
      session.once('close', () => {
        this.#connections.delete(connection);
      });
      if (this.#isDraining) connection.drain();
    });
  }

  /** Takes a connection over; its first bytes have not been read, or put back. */
  accept(socket: Socket): void {
    socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    this.#server.emit('connection', socket);
  }

  /** Calls that are running. */
  get running(): number {
    return [...this.#connections].reduce((sum, { running }) => sum + running, 0);
  }

  /** No more calls; those that would not end by themselves are ended. */
  drain(): void {
    this.#isDraining = true;
    for (const connection of this.#connections) connection.drain();
  }

  /** Ends what is left. */
  close(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

class Connection {
  /** With their methods. */
  readonly #calls = new Map<Call, string>();
  readonly #direct: string;
  #controller: ClientHttp2Session | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(
    private readonly session: ServerHttp2Session,
    private readonly deps: GrpcDeps,
  ) {
    this.#direct = session.socket.remoteAddress ?? '';
    session.on('stream', (stream, headers) => {
      this.#call(stream, headers).catch((error: unknown) => {
        deps.log.error({ err: error }, 'passing a call on failed');
        stream.destroy();
      });
    });
    // What is wrong with a connection is its client's to know.
    session.on('error', () => undefined);
    session.once('close', () => {
      clearTimeout(this.#idle);
      this.#controller?.destroy();
    });
    this.#beIdle();
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
    const startedAt = performance.now();
    const requestId = idOf(headers);
    const call = new Call(stream, {
      begin: (outgoing) => this.#toController().request(outgoing),
      firstMessageMs: this.deps.firstMessageMs,
    });
    this.#calls.set(call, method);
    clearTimeout(this.#idle);
    try {
      const status = await call.run(this.#headers(method, requestId, headers));
      this.deps.log.info({ requestId, method, status, ms: Math.round(performance.now() - startedAt) }, 'call');
    } finally {
      this.#calls.delete(call);
      if (this.#calls.size === 0) this.#beIdle();
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
      ...(TIMEOUT.test(timeout) ? { 'grpc-timeout': timeout } : {}),
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

  #beIdle(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (!this.session.closed) this.session.close();
    }, IDLE_MS).unref();
  }
}

const textOf = (value: string | string[] | undefined): string => (typeof value === 'string' ? value : '');

function idOf(headers: IncomingHttpHeaders): string {
  const given = textOf(headers[REQUEST_ID_METADATA]);
  return REQUEST_ID.test(given) ? given : randomBytes(8).toString('hex');
}
