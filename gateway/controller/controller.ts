/**
 * The controller over the gateway's socket. A session makes one HTTP request's calls: each carries the client's token,
 * its address and the request's id, and is cancelled when the client goes away, unless it is detached. Calls with one
 * answer share a stream (exchange.ts); others have one each. The channel reconnects by itself; meanwhile calls fail at
 * once with `unavailable`.
 */
import {
  credentials,
  Metadata,
  type CallOptions,
  type Client,
  type ClientReadableStream,
  type MethodDefinition,
} from '@grpc/grpc-js';
import { Exchange } from './exchange.js';
import { ClusterServiceClient } from '../../shared/gen/nexus/v1/cluster.js';
import { MIB } from '../../shared/limits.js';
import { ExchangeServiceClient } from '../../shared/gen/nexus/v1/exchange.js';
import { FileServiceClient } from '../../shared/gen/nexus/v1/file.js';
import { FsServiceClient } from '../../shared/gen/nexus/v1/fs.js';
import { IdentityServiceClient } from '../../shared/gen/nexus/v1/identity.js';
import { LambdaServiceClient } from '../../shared/gen/nexus/v1/lambda.js';
import { MetricsServiceClient } from '../../shared/gen/nexus/v1/metrics.js';
import { NodeServiceClient } from '../../shared/gen/nexus/v1/node.js';
import { streamMessages, type UnaryMethod } from '../../shared/rpc/calls.js';
import type { FileCalls } from '../../shared/rpc/file-catalogue.js';
import { AUTHORIZATION_METADATA, CLIENT_ADDRESS_METADATA, REQUEST_ID_METADATA } from '../../shared/rpc/status.js';

/** Deadline of a call that is answered at once. */
const QUICK_DEADLINE_MS = 30_000;
/** Deadline of a call that waits for a node. */
export const SLOW_DEADLINE_MS = 5 * 60 * 1000;
/** A controller that restarts is back within seconds, and the gateway should reconnect as fast. */
const RECONNECT_MS = { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1000 };
const PING_DEADLINE_MS = 2000;
const SILENT = 'the controller does not answer; try again in a moment';

type StreamMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options?: Partial<CallOptions>,
) => ClientReadableStream<Response>;

interface Clients {
  readonly node: NodeServiceClient;
  readonly file: FileServiceClient;
  readonly fs: FsServiceClient;
  readonly lambda: LambdaServiceClient;
  readonly metrics: MetricsServiceClient;
  readonly identity: IdentityServiceClient;
  readonly cluster: ClusterServiceClient;
}

export interface Scope {
  /** The client's token; undefined where none is required. */
  readonly token: string | undefined;
  readonly address: string;
  readonly requestId: string;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

/** The `method` of a call is e.g. `session.node.createNode`. Codes: those of the controller, unavailable. */
export interface Session extends Clients, FileCalls {
  readonly signal: AbortSignal;
  /** Yields the messages of a server stream; ends without an error when the client goes away. */
  messages<Request, Response>(
    client: Client,
    method: StreamMethod<Request, Response>,
    request: Request,
  ): AsyncGenerator<Response>;
}

export class Controller {
  readonly #clients: Clients;
  readonly #exchanging: ExchangeServiceClient;
  readonly #exchange: Exchange;

  constructor(socket: string) {
    const target = `unix:${socket}`;
    const channel = credentials.createInsecure();
    // Proxy settings of the environment must not apply to a Unix socket.
    const options = { 'grpc.enable_http_proxy': 0, ...RECONNECT_MS };
    this.#clients = {
      node: new NodeServiceClient(target, channel, options),
      file: new FileServiceClient(target, channel, options),
      fs: new FsServiceClient(target, channel, options),
      lambda: new LambdaServiceClient(target, channel, options),
      metrics: new MetricsServiceClient(target, channel, options),
      identity: new IdentityServiceClient(target, channel, options),
      cluster: new ClusterServiceClient(target, channel, options),
    };
    this.#exchanging = new ExchangeServiceClient(target, channel, { ...options, 'grpc-node.flow_control_window': MIB });
    this.#exchange = new Exchange(() => this.#exchanging.exchange());
  }

  session(scope: Scope): Session {
    return new RequestSession(this.#clients, this.#exchange, scope);
  }

  /** Whether the controller answers. Code: unavailable. */
  async ping(scope: Scope): Promise<void> {
    const { identity } = this.#clients;
    await this.session(scope).call(identity.getSigningKeys, {}, PING_DEADLINE_MS);
  }

  close(): void {
    this.#exchange.close();
    for (const client of [this.#exchanging, ...(Object.values(this.#clients) as Client[])]) client.close();
  }
}

class RequestSession implements Session {
  readonly node: NodeServiceClient;
  readonly file: FileServiceClient;
  readonly fs: FsServiceClient;
  readonly lambda: LambdaServiceClient;
  readonly metrics: MetricsServiceClient;
  readonly identity: IdentityServiceClient;
  readonly cluster: ClusterServiceClient;

  constructor(
    { node, file, fs, lambda, metrics, identity, cluster }: Clients,
    private readonly exchange: Exchange,
    private readonly scope: Scope,
  ) {
    this.node = node;
    this.file = file;
    this.fs = fs;
    this.lambda = lambda;
    this.metrics = metrics;
    this.identity = identity;
    this.cluster = cluster;
  }

  get signal(): AbortSignal {
    return this.scope.signal;
  }

  call<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadlineMs = QUICK_DEADLINE_MS,
  ): Promise<Response> {
    const { scope } = this;
    return this.exchange.call(definitionOf(method), request, scope, { deadlineMs, signal: scope.signal });
  }

  callDetached<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    return this.exchange.call(definitionOf(method), request, this.scope, { deadlineMs, signal: undefined });
  }

  messages<Request, Response>(
    client: Client,
    method: StreamMethod<Request, Response>,
    request: Request,
  ): AsyncGenerator<Response> {
    return streamMessages(method.call(client, request, metadataOf(this.scope)), this.scope.signal, () => SILENT);
  }
}

function metadataOf({ token, address, requestId }: Scope): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set(AUTHORIZATION_METADATA, `Bearer ${token}`);
  metadata.set(CLIENT_ADDRESS_METADATA, address);
  metadata.set(REQUEST_ID_METADATA, requestId);
  return metadata;
}

/** The client's method carries its own definition: its path and its serializers. */
const definitionOf = <Request, Response>(method: UnaryMethod<Request, Response>): MethodDefinition<Request, Response> =>
  method as unknown as MethodDefinition<Request, Response>;
