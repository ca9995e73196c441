/**
 * The gateway's port: one server that accepts connections and hands them to HTTP/1.1 or, those that speak HTTP/2, to
 * gRPC. `drain` refuses new connections at
 * once, lets every request that has come in run to its end within bounds, and then closes what is idle.
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
import { Connections, type ConnectionBounds } from '../shared/connections.js';
import { NexusError } from '../shared/errors.js';
import type { Logger } from '../shared/log.js';
import { LogSampler } from '../shared/log-sampler.js';
import { speaksHttp2 } from './grpc/preface.js';
import type { GatewayLimits } from './limits.js';

/** What takes the connections that speak HTTP/2. */
export interface Http2Edge {
  accept(socket: Socket): void;
  /** Calls that are running. */
  readonly running: number;
  /** Takes no more calls; running ones go on. */
  drain(): void;
  /** Ends what is left. */
  close(): void;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly limits: Pick<GatewayLimits, 'headerTimeoutMs' | 'drainMs' | 'stallMs'>;
  readonly connections: Connections;
}

/** `proxies`: reverse proxies in front, whose connections are everybody's. */
export const makeConnections = (proxies: number, log: Logger): Connections => {
  const sampler = new LogSampler(() => performance.now());
  const bounds = proxies === 0 ? CONNECTIONS : { ...CONNECTIONS, perPeer: CONNECTIONS.inAll };
  return new Connections(bounds, (address) => {
    const sample = sampler.admit(address);
    if (sample === undefined) return;
    const fields = { address, ...bounds, left_out: sample.leftOut };
    log.warn(fields, 'a connection was closed to make room: there are as many as one client, or all, may have');
  });
};

/**
 * On TLS. Browsers and curl offer both and get HTTP/1.1, which is what REST is served on; gRPC clients offer HTTP/2 alone.
 */
const PROTOCOLS = ['http/1.1', 'h2'];
const MAX_HEADER_BYTES = 16 * 1024;
/** A client may have a quarter: what it leaves idle gives way to its own, and then to that of others. */
const CONNECTIONS: ConnectionBounds = { perPeer: 1024, inAll: 4096 };
const KEEP_ALIVE_MS = 15_000;
/** How often too slow headers are looked for. */
const CHECK_PERIOD_MS = 500;
/**
 * For which idle connections stay open while draining: a request may be on its way on each, and would be cut. It is
 * answered, with the word that the connection ends.
 */
const IDLE_GRACE_MS = 500;
const DRAIN_POLL_MS = 20;

export class Listener {
  readonly #http: HttpServer;
  readonly #accepting: TcpServer;
  /** Their requests may take as long as they take. */
  readonly #answering = new WeakSet<Socket>();
  /** Below TLS, by the client's address and port; nothing where there is none. */
  readonly #below = new Map<string, Socket>();
  #isDraining = false;
  #running = 0;

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
        // An upload may take hours; whoever reads a body bounds the time for it.
        requestTimeout: 0,
        keepAliveTimeout: Math.min(KEEP_ALIVE_MS, limits.stallMs),
        connectionsCheckingInterval: Math.min(CHECK_PERIOD_MS, limits.headerTimeoutMs),
      },
      (request, response) => {
        const { socket } = request;
        this.#running += 1;
        this.#answering.add(socket);
        const release = connections.occupy(this.#counted(socket));
        response.once('close', () => {
          release();
          this.#running -= 1;
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
    // Nothing came or went for that long: a client that does not take its answer, or one that asks for nothing.
    this.#http.timeout = limits.stallMs;
    this.#http.on('timeout', (socket: Socket) => {
      if (socket.writableLength > 0 || !this.#answering.has(socket)) socket.destroy();
    });
    // It begins to look for slow headers when it believes that it listens.
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

  /** These have bounds of their own, for each client, and are ended there when nothing is called. */
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

  /** Code: failed_precondition, saying what to set. */
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

  /** The port it has. */
  get port(): number {
    const address = this.#accepting.address();
    return typeof address === 'object' && address !== null ? address.port : this.options.port;
  }

  /** Twice is once. */
  async drain(): Promise<void> {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#accepting.close();
    this.grpc.drain();
    const startedAt = performance.now();
    const elapsedMs = (): number => performance.now() - startedAt;
    while (
      elapsedMs() < IDLE_GRACE_MS ||
      (this.#running + this.grpc.running > 0 && elapsedMs() < this.options.limits.drainMs)
    ) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    this.grpc.close();
    this.#http.closeAllConnections();
    this.#http.close();
  }
}

const placeOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress ?? ''} ${remotePort ?? 0}`;
