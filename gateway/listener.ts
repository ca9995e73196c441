/**
 * The gateway's port: one server accepts connections and passes them to HTTP/1.1 or, if they speak HTTP/2, to gRPC.
 * `drain` refuses new connections at once, lets running requests end within bounds, and then closes all connections.
 */
import {
  createServer as createHttpServer,
  type RequestListener,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { once } from 'node:events';
import { systemClock } from '../shared/async/clock.js';
import { until } from '../shared/async/wait.js';
import { Connections, type ConnectionBounds } from '../shared/connections.js';
import { NexusError } from '../shared/errors.js';
import type { Logger } from '../shared/log.js';
import { LogSampler } from '../shared/log-sampler.js';
import { speaksHttp2 } from './http/preface.js';
import type { GatewayLimits } from './http/limits.js';

/** Serves the connections that speak HTTP/2. */
export interface Http2Edge {
  accept(socket: Socket): void;
  /** Calls that are running. */
  readonly running: number;
  /** Accepts no more calls; running ones go on, except those that would not end by themselves. */
  drain(): void;
  /** Ends the remaining calls. */
  close(): void;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly limits: Pick<GatewayLimits, 'headerTimeoutMs' | 'drainMs' | 'stallMs'>;
  readonly connections: Connections;
}

/** `proxies`: number of reverse proxies in front, whose connections carry all clients. */
export const makeConnections = (proxies: number, log: Logger): Connections => {
  const sampler = new LogSampler(() => systemClock.monotonic());
  const bounds = proxies === 0 ? CONNECTIONS : { ...CONNECTIONS, perPeer: CONNECTIONS.inAll };
  return new Connections(bounds, (address) => {
    const sample = sampler.admit(address);
    if (sample === undefined) return;
    const fields = { address, ...bounds, left_out: sample.leftOut };
    log.warn(fields, 'a connection was closed to make room: one client, or all together, reached the limit');
  });
};

/**
 * Protocols offered on TLS. Browsers and curl offer both and get HTTP/1.1, which serves REST; gRPC clients offer only
 * HTTP/2.
 */
const PROTOCOLS = ['http/1.1', 'h2'];
const MAX_HEADER_BYTES = 16 * 1024;
/** One client may have a quarter. Its idle connections make way for its own new ones, then for those of others. */
const CONNECTIONS: ConnectionBounds = { perPeer: 1024, inAll: 4096 };
const KEEP_ALIVE_MS = 15_000;
/** How often connections are checked for slow headers. */
const CHECK_PERIOD_MS = 500;
/**
 * Time that connections without a request stay open while draining, from the last answer on: a request may be on its
 * way, and would be cut off. It is answered, with `Connection: close`.
 */
const IDLE_GRACE_MS = 500;
const DRAIN_POLL_MS = 20;

export class Listener {
  readonly #http: HttpServer;
  readonly #accepting: TcpServer;
  /** Sockets with a request being answered, which may take any time. */
  readonly #answering = new WeakSet<Socket>();
  /** TCP sockets below TLS, by the client's address and port; empty without TLS. */
  readonly #below = new Map<string, Socket>();
  #isDraining = false;
  /** Answers that are not complete. */
  readonly #running = new Set<ServerResponse>();
  #lastAnswerAt = 0;

  constructor(
    handle: RequestListener,
    private readonly grpc: Http2Edge,
    private readonly options: ListenOptions,
  ) {
    const { tls, limits, connections } = options;
    this.#http = createHttpServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: limits.headerTimeoutMs,
        // An upload may take hours; readers of bodies bound the time themselves.
        requestTimeout: 0,
        keepAliveTimeout: Math.min(KEEP_ALIVE_MS, limits.stallMs),
        connectionsCheckingInterval: Math.min(CHECK_PERIOD_MS, limits.headerTimeoutMs),
      },
      (request, response) => {
        const { socket } = request;
        this.#running.add(response);
        this.#answering.add(socket);
        const release = connections.occupy(this.#counted(socket));
        response.once('close', () => {
          release();
          this.#running.delete(response);
          this.#lastAnswerAt = systemClock.monotonic();
          this.#answering.delete(socket);
        });
        if (this.#isDraining) response.setHeader('Connection', 'close');
        handle(request, response);
      },
    );
    this.#http.on('checkExpectation', (_request, response: ServerResponse) => {
      const body = { error: 'expect: must be 100-continue', code: 'invalid_argument', details: { field: 'expect' } };
      response.writeHead(417, { 'content-type': 'application/json; charset=utf-8', connection: 'close' });
      response.end(JSON.stringify(body));
    });
    // Time without traffic: the client does not take its answer, or requests nothing.
    this.#http.timeout = limits.stallMs;
    this.#http.on('timeout', (socket: Socket) => {
      if (socket.writableLength > 0 || !this.#answering.has(socket)) socket.destroy();
    });
    // Starts the check for slow headers, which the server begins on 'listening'; it never listens itself.
    this.#http.emit('listening');
    const accept = (socket: Socket): void => {
      void speaksHttp2(socket, limits.headerTimeoutMs).then((isHttp2) => {
        if (isHttp2 === true) this.#acceptHttp2(socket);
        else if (isHttp2 === false) this.#http.emit('connection', socket);
      });
    };
    this.#accepting =
      tls === undefined
        ? createTcpServer({ noDelay: true }, accept)
        : createTlsServer({ ...tls, handshakeTimeout: limits.headerTimeoutMs, ALPNProtocols: PROTOCOLS }, accept);
    this.#accepting.on('connection', (socket: Socket) => {
      connections.add(socket);
      if (tls !== undefined) this.#remember(socket);
    });
    this.#accepting.on('tlsClientError', () => undefined);
  }

  /** HTTP/2 connections have bounds of their own per client, and are closed by the edge when no call runs. */
  #acceptHttp2(socket: Socket): void {
    this.options.connections.occupy(this.#counted(socket));
    this.grpc.accept(socket);
  }

  #counted(socket: Socket): Socket {
    return this.#below.get(placeOf(socket)) ?? socket;
  }

  #remember(socket: Socket): void {
    const place = placeOf(socket);
    this.#below.set(place, socket);
    socket.once('close', () => {
      if (this.#below.get(place) === socket) this.#below.delete(place);
    });
  }

  /** Code: failed_precondition, naming the settings to change. */
  async listen(): Promise<void> {
    const { host, port } = this.options;
    this.#accepting.listen(port, host);
    try {
      await once(this.#accepting, 'listening');
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      throw new NexusError(
        'failed_precondition',
        `the gateway cannot listen on ${host}:${port}: ${said}; set gateway-port or gateway-host`,
        {},
        { cause: error },
      );
    }
  }

  /** The actual port. */
  get port(): number {
    const address = this.#accepting.address();
    return typeof address === 'object' && address !== null ? address.port : this.options.port;
  }

  /** Calling it again has no effect. */
  async drain(): Promise<void> {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#accepting.close();
    this.grpc.drain();
    // Those whose head was sent keep their connection; their clients may send a request within the grace.
    for (const response of this.#running) if (!response.headersSent) response.setHeader('Connection', 'close');
    this.#lastAnswerAt = systemClock.monotonic();
    const elapsedMs = (since: number): number => systemClock.monotonic() - since;
    const isBusy = (): boolean =>
      this.#running.size + this.grpc.running > 0 || elapsedMs(this.#lastAnswerAt) < IDLE_GRACE_MS;
    const withinMs = Math.max(IDLE_GRACE_MS, this.options.limits.drainMs);
    await until(() => !isBusy(), { everyMs: DRAIN_POLL_MS, withinMs });
    this.grpc.close();
    this.#http.closeAllConnections();
    this.#http.close();
  }
}

const placeOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? ''} ${remotePort ?? 0}`;
