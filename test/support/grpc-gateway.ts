/** A port that takes gRPC and HTTP/1.1, as the gateway's does, before a controller whose answers a test gives. */
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer, type AddressInfo, type Server as TcpServer, type Socket } from 'node:net';
import { credentials, type UntypedHandleCall } from '@grpc/grpc-js';
import { GRPC_BOUNDS, GrpcEdge, type GrpcBounds } from '../../gateway/doors/grpc/edge.js';
import { speaksHttp2 } from '../../gateway/http/preface.js';
import { REQUEST_BYTES, Shares } from '../../shared/shares.js';
import { createLogger, type Logger } from '../../shared/log.js';
import { FakeController } from './fake-controller.js';

const FIRST_MESSAGE_MS = 300;
const SILENCE_MS = 1000;

export class GrpcGateway implements AsyncDisposable {
  readonly edge: GrpcEdge;
  /** Of all clients that came. */
  readonly sockets: Socket[] = [];
  readonly #http: Server;
  readonly #tcp: TcpServer;
  readonly #clients: { close(): void }[] = [];

  private constructor(
    readonly controller: FakeController,
    handle: RequestListener,
    bounds: Partial<GrpcBounds>,
    log: Logger,
  ) {
    this.#http = createHttpServer(handle);
    this.edge = new GrpcEdge({
      socketPath: controller.socket,
      log,
      firstMessageMs: FIRST_MESSAGE_MS,
      bounds: { ...GRPC_BOUNDS, ...bounds },
      bodies: new Shares(REQUEST_BYTES),
      addressOf: (direct, forwarded) => (forwarded === '' ? direct : forwarded),
    });
    this.#tcp = createServer((socket) => {
      this.sockets.push(socket);
      void speaksHttp2(socket, SILENCE_MS).then((isHttp2) => {
        if (isHttp2 === true) this.edge.accept(socket);
        else if (isHttp2 === false) this.#http.emit('connection', socket);
      });
    });
  }

  /** `answers` as FakeController's; `handle` answers what comes over HTTP/1.1. */
  static async start(
    answers: Readonly<Record<string, UntypedHandleCall>>,
    handle: RequestListener = (_request, response) => response.end('plain'),
    bounds: Partial<GrpcBounds> = {},
    log = createLogger('test', 'silent'),
  ): Promise<GrpcGateway> {
    const gateway = new GrpcGateway(await FakeController.start(answers), handle, bounds, log);
    gateway.#tcp.listen(0, '127.0.0.1');
    await once(gateway.#tcp, 'listening');
    return gateway;
  }

  get port(): number {
    return (this.#tcp.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  client<Made extends { close(): void }>(
    make: new (target: string, channel: ReturnType<typeof credentials.createInsecure>) => Made,
  ): Made {
    const client = new make(`127.0.0.1:${this.port}`, credentials.createInsecure());
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    this.edge.close();
    this.#http.closeAllConnections();
    this.#tcp.close();
    await this.controller[Symbol.asyncDispose]();
  }
}
