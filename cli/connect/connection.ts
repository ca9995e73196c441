/**
 * Connects to the controller: typed clients, deadlines, and errors as it threw them. By default over its admin socket.
 */
import type { Client } from '@grpc/grpc-js';
import {
  Channel,
  connectivityState,
  credentials,
  InterceptingCall,
  type Interceptor,
  Metadata,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientOptions as GrpcOptions,
  type ClientWritableStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { setMaxListeners } from 'node:events';
import { existsSync } from 'node:fs';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { deferred, onAbort, outcome } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import type { Settings } from '../../shared/config/settings.js';
import { NexusError } from '../../shared/errors.js';
import { assertOwnRunFolder } from '../../shared/host/own-folder.js';
import { ClusterServiceClient } from '../../shared/gen/nexus/v1/cluster.js';
import { FileServiceClient } from '../../shared/gen/nexus/v1/file.js';
import { FsServiceClient } from '../../shared/gen/nexus/v1/fs.js';
import { IdentityServiceClient } from '../../shared/gen/nexus/v1/identity.js';
import { ImageServiceClient } from '../../shared/gen/nexus/v1/image.js';
import { LambdaServiceClient } from '../../shared/gen/nexus/v1/lambda.js';
import { MetricsServiceClient } from '../../shared/gen/nexus/v1/metrics.js';
import { NodeServiceClient } from '../../shared/gen/nexus/v1/node.js';
import { StateServiceClient } from '../../shared/gen/nexus/v1/state.js';
import type { ChunkRoute } from '../../shared/transfer/route.js';
import { callError, streamMessages, type UnaryMethod, type WhenBroken } from '../../shared/rpc/calls.js';
import { AS_USER_METADATA, CODE_KEY } from '../../shared/rpc/status.js';
import { answersNow, flagOf, notAnswering } from './silent-controller.js';

/** Deadline of a call that is answered at once. */
const QUICK_DEADLINE_MS = 30_000;
/** Deadline of a call that waits for a node or an image. */
export const SLOW_DEADLINE_MS = 15 * 60 * 1000;
const CONNECT_TIMEOUT_MS = 5000;
/**
 * Time between pings while a call runs, and for the controller to answer one: even on a busy machine it does so within
 * seconds, whatever the call itself waits for.
 */
const KEEP_ALIVE = { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 15_000 };
/** A controller that dies leaves only a broken connection behind. */
const ENDED = 'the controller ended in the middle of the call; see nexus status';

export interface Controller {
  readonly node: NodeServiceClient;
  readonly file: FileServiceClient;
  readonly fs: FsServiceClient;
  readonly identity: IdentityServiceClient;
  readonly image: ImageServiceClient;
  readonly lambda: LambdaServiceClient;
  readonly metrics: MetricsServiceClient;
  readonly state: StateServiceClient;
  readonly cluster: ClusterServiceClient;
  /** How chunks reach the nodes; undefined: at their own addresses. */
  readonly chunkRoute: ChunkRoute | undefined;
  /** One request, one answer. `method` is e.g. `controller.node.createNode`. */
  call<Request, Response>(
    client: Client,
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadlineMs?: number,
  ): Promise<Response>;
  /** As `call`, but not cancelled by the command's signal: for clean-up after an interrupt. */
  callDetached<Request, Response>(
    client: Client,
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response>;
  /** Yields the messages of a server stream; ends without an error when the command was interrupted. */
  messages<Response>(
    stream: ClientReadableStream<Response> | ClientDuplexStream<never, Response>,
  ): AsyncGenerator<Response>;
  /** Starts a client stream; its answer is a promise. */
  answerOf<Request, Response>(
    start: (done: (error: ServiceError | null, response: Response) => void) => ClientWritableStream<Request>,
  ): { readonly stream: ClientWritableStream<Request>; readonly answer: Promise<Response> };
  close(): Promise<void>;
}

export const notRunning = (settings: Settings): NexusError =>
  new NexusError(
    'unavailable',
    `the cluster "${settings.instance}" is not running; start it with: nexus up${flagOf(settings)}`,
  );

/**
 * Codes: unavailable if nobody listens, deadline_exceeded if somebody listens and does not answer, failed_precondition
 * if the socket may be another user's.
 */
export async function openController(
  settings: Settings,
  signal: AbortSignal,
  asUser?: string,
  uid = process.getuid?.() ?? 0,
): Promise<Controller> {
  // A socket elsewhere was named by the caller.
  if (settings.socket.startsWith(`${settings.runDir}/`)) assertOwnRunFolder(settings.runDir, uid);
  if (!existsSync(settings.socket)) throw notRunning(settings);
  return await openClients({
    target: `unix:${settings.socket}`,
    channel: credentials.createInsecure(),
    options: { ...KEEP_ALIVE, interceptors: asUser === undefined ? [] : [actFor(asUser)] },
    signal,
    // Either nothing came over the connection until it was given up, or a controller's end has closed it.
    whenBroken: async () =>
      (await answersNow(settings.socket)) === false ? inCommandWords(notAnswering(settings)) : ENDED,
    whenSilent: (isListening) => (isListening ? notAnswering(settings) : notRunning(settings)),
  });
}

export interface ClientOptions {
  /** In gRPC's notation, e.g. unix:PATH. */
  readonly target: string;
  readonly channel: ChannelCredentials;
  readonly options: Partial<GrpcOptions>;
  readonly signal: AbortSignal;
  /** Makes the error for a failed connection; `isListening`: it was not refused, either, within the time limit. */
  readonly whenSilent: (isListening: boolean) => NexusError | Promise<NexusError>;
  readonly chunkRoute?: ChunkRoute;
  /** Makes the message for a connection that breaks during a call; default: the controller has ended. */
  readonly whenBroken?: WhenBroken;
}

/** Clients of all services on one connection. */
export async function openClients(given: ClientOptions): Promise<Controller> {
  const { target, channel, signal, whenSilent, chunkRoute, whenBroken = () => ENDED } = given;
  // Each running call adds a listener, and `node rm a b c ...` runs many at once.
  setMaxListeners(0, signal);
  const { interceptors = [], ...options } = given.options;
  const connection = new Channel(target, channel, {
    // Proxy settings of the environment must not apply here.
    'grpc.enable_http_proxy': 0,
    // Another call of this process may just have been refused, and what it waits for would answer for this one, too.
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  });
  const shared = { interceptors, channelOverride: connection };
  const clients = {
    node: new NodeServiceClient(target, channel, shared),
    file: new FileServiceClient(target, channel, shared),
    fs: new FsServiceClient(target, channel, shared),
    identity: new IdentityServiceClient(target, channel, shared),
    image: new ImageServiceClient(target, channel, shared),
    lambda: new LambdaServiceClient(target, channel, shared),
    metrics: new MetricsServiceClient(target, channel, shared),
    state: new StateServiceClient(target, channel, shared),
    cluster: new ClusterServiceClient(target, channel, shared),
  };
  const close = (): void => connection.close();
  const outcome = await connected(connection, signal);
  if (outcome !== 'ready') {
    close();
    if (signal.aborted) throw interruption(signal);
    throw await whenSilent(outcome === 'late');
  }
  return {
    ...clients,
    chunkRoute,
    call: (client, method, request, deadlineMs = QUICK_DEADLINE_MS) =>
      unaryCall(client, method, request, { deadlineMs, signal, whenBroken }),
    callDetached: (client, method, request, deadlineMs) =>
      unaryCall(client, method, request, { deadlineMs, signal: new AbortController().signal, whenBroken }),
    messages: (stream) => streamMessages(stream, signal, whenBroken),
    answerOf: (start) => clientStream(start, whenBroken),
    close: () => {
      close();
      return Promise.resolve();
    },
  };
}

/** Names the user on every call, streams included. */
const actFor =
  (user: string): Interceptor =>
  (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start: (metadata, listener, next) => {
        metadata.set(AS_USER_METADATA, user);
        next(metadata, listener);
      },
    });

/** Reports the outcome of the first attempt: gRPC itself would go on trying after a refusal. */
function connected(channel: Channel, signal: AbortSignal): Promise<'ready' | 'refused' | 'late'> {
  const deadline = systemClock.now() + CONNECT_TIMEOUT_MS;
  return outcome((settle) => {
    const gone = onAbort(signal, () => settle('refused'));
    const look = (isLate: boolean): void => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) settle('ready');
      else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) settle('refused');
      else if (isLate) settle('late');
      else channel.watchConnectivityState(state, deadline, (error) => look(error !== undefined));
    };
    look(false);
    return () => gone[Symbol.dispose]();
  });
}

/** Returns the error that names the signal, if it is known. */
const interruption = ({ reason }: AbortSignal): NexusError =>
  reason instanceof NexusError ? reason : new NexusError('cancelled', 'interrupted');

function unaryCall<Request, Response>(
  client: Client,
  method: UnaryMethod<Request, Response>,
  request: Request,
  { deadlineMs, signal, whenBroken }: { deadlineMs: number; signal: AbortSignal; whenBroken: WhenBroken },
): Promise<Response> {
  return outcome((resolve, reject) => {
    const call = method.call(
      client,
      request,
      new Metadata(),
      { deadline: systemClock.now() + deadlineMs },
      (error, response) => {
        if (error === null) resolve(response);
        else if (signal.aborted) reject(interruption(signal));
        else
          callError(error, whenBroken).then(
            (known) => reject(isOurs(known, error) ? late(deadlineMs, error) : known),
            reject,
          );
      },
    );
    const gone = onAbort(signal, () => call.cancel());
    return () => gone[Symbol.dispose]();
  });
}

/** Whether our own deadline has passed: errors that the controller itself reports carry CODE_KEY. */
const isOurs = ({ code }: NexusError, { metadata }: ServiceError): boolean =>
  code === 'deadline_exceeded' && metadata.get(CODE_KEY).length === 0;

const late = (deadlineMs: number, cause: unknown): NexusError =>
  new NexusError(
    'deadline_exceeded',
    `the controller has not answered for ${deadlineMs / 1000} s, and may still carry out the request; see nexus status and nexus events`,
    {},
    { cause },
  );

/** `start` receives the callback that grpc-js needs. */
function clientStream<Request, Response>(
  start: (done: (error: ServiceError | null, response: Response) => void) => ClientWritableStream<Request>,
  whenBroken: WhenBroken,
): { readonly stream: ClientWritableStream<Request>; readonly answer: Promise<Response> } {
  const { promise: answer, resolve, reject } = deferred<Response>();
  const stream = start((error, response) => {
    if (error === null) resolve(response);
    else callError(error, whenBroken).then(reject, reject);
  });
  return { stream, answer };
}
