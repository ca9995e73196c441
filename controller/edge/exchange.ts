/**
 * Serves many unary calls in one stream. Each is handled as if it had come alone, by the same handler behind the same
 * edge; only the transport differs. For the gateway only: a stream that a client sent through the gateway could forge
 * client addresses, and is refused. What it saves is in gateway/controller/exchange.ts.
 */
import { EventEmitter } from 'node:events';
import {
  Metadata,
  type handleUnaryCall,
  type MethodDefinition,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type StatusObject,
} from '@grpc/grpc-js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import {
  type ExchangedCall,
  type ExchangedReply,
  type ExchangeRequest,
  type ExchangeResponse,
  type ExchangeServiceServer,
  ExchangeServiceService,
} from '../../shared/gen/nexus/v1/exchange.js';
import { MIB } from '../../shared/limits.js';
import { Batch } from '../../shared/rpc/batch.js';
import {
  AUTHORIZATION_METADATA,
  CLIENT_ADDRESS_METADATA,
  errorOfStatus,
  REQUEST_ID_METADATA,
  statusOf,
} from '../../shared/rpc/status.js';
import type { RegisteredService } from './server.js';

/** Limits the calls of one stream that are being answered; the gateway's own limits are far lower. */
const MAX_RUNNING = 8192;
/** Limits the total size of their requests. */
const MAX_RUNNING_BYTES = 64 * MIB;
/** The limit of a single message, less room for the reply around it. */
const MAX_RESPONSE_BYTES = 4 * MIB - 4096;
/** Approximate size of a reply besides its content. */
const REPLY_BYTES = 64;

interface Target {
  readonly method: MethodDefinition<unknown, unknown>;
  readonly handle: handleUnaryCall<unknown, unknown>;
}

type Stream = ServerDuplexStream<ExchangeRequest, ExchangeResponse>;

/** The service over the unary methods of `services`. */
export function exchangeOver(services: readonly RegisteredService[]): RegisteredService {
  const targets = targetsOf(services);
  const open = new Set<Conversation>();
  const handlers: ExchangeServiceServer = {
    exchange: (stream) => {
      if (stream.metadata.get(CLIENT_ADDRESS_METADATA).length > 0) {
        stream.emit('error', statusOf(new NexusError('permission_denied', 'this is for the gateway alone')));
        return;
      }
      const conversation = new Conversation(stream, targets);
      open.add(conversation);
      conversation.onEnd(() => open.delete(conversation));
    },
  };
  return {
    proto: 'nexus/v1/exchange.proto',
    definition: ExchangeServiceService,
    handlers: { ...handlers },
    close: () => {
      for (const conversation of open) conversation.finish();
    },
  };
}

function targetsOf(services: readonly RegisteredService[]): ReadonlyMap<string, Target> {
  const unary = services.flatMap(({ definition, handlers }) =>
    Object.entries(definition)
      .filter(([name, method]) => !method.requestStream && !method.responseStream && Object.hasOwn(handlers, name))
      .map(([name, method]): [string, Target] => [
        method.path,
        { method, handle: handlers[name] as handleUnaryCall<unknown, unknown> },
      ]),
  );
  return new Map(unary);
}

class ExchangedUnaryCall extends EventEmitter {
  constructor(
    private readonly path: string,
    readonly metadata: Metadata,
    readonly request: unknown,
  ) {
    super();
  }

  getPath(): string {
    return this.path;
  }
}

function metadataOf({ token, clientAddress, requestId }: ExchangedCall): Metadata {
  const metadata = new Metadata();
  if (token !== '') metadata.set(AUTHORIZATION_METADATA, `Bearer ${token}`);
  metadata.set(CLIENT_ADDRESS_METADATA, clientAddress);
  metadata.set(REQUEST_ID_METADATA, requestId);
  return metadata;
}

class Conversation {
  readonly #running = new Map<number, ExchangedUnaryCall>();
  readonly #replies: Batch<ExchangedReply>;
  /** Total size of the requests being answered. */
  #runningBytes = 0;
  #isFinishing = false;

  constructor(
    private readonly stream: Stream,
    private readonly targets: ReadonlyMap<string, Target>,
  ) {
    this.#replies = new Batch({
      write: (replies, taken) => {
        stream.write({ replies: [...replies] }, taken);
      },
    });
    stream.on('data', ({ calls, cancelled }: ExchangeRequest) => {
      for (const call of calls) this.#take(call);
      for (const id of cancelled) this.#running.get(id)?.emit('cancelled');
    });
    stream.on('end', () => {
      this.finish();
    });
    // The event 'cancelled' follows.
    stream.on('error', () => undefined);
    this.onEnd(() => {
      for (const call of this.#running.values()) call.emit('cancelled');
      this.#running.clear();
    });
  }

  onEnd(listener: () => void): void {
    this.stream.once('cancelled', listener);
    this.stream.once('finish', listener);
  }

  /** Accepts no more calls, and ends once the running ones are answered. */
  finish(): void {
    this.#isFinishing = true;
    this.#endIfDone();
  }

  #take(given: ExchangedCall): void {
    const { id, method: path } = given;
    const target = this.targets.get(path);
    if (this.#isFinishing) this.#refuse(id, new NexusError('unavailable', 'the controller stops'));
    else if (target === undefined) this.#refuse(id, new NexusError('unimplemented', `there is no call ${path}`));
    else if (this.#running.has(id)) this.#refuse(id, new NexusError('invalid_argument', `call ${id} is running`));
    else if (this.#running.size >= MAX_RUNNING)
      this.#refuse(id, new NexusError('resource_exhausted', 'too many calls are running; try again in a moment'));
    else if (this.#runningBytes + given.request.length > MAX_RUNNING_BYTES)
      this.#refuse(id, new NexusError('unavailable', 'too many large calls are running; try again in a moment'));
    else this.#run(given, target);
  }

  #run(given: ExchangedCall, { method, handle }: Target): void {
    const { id } = given;
    let request: unknown;
    try {
      request = method.requestDeserialize(given.request);
    } catch {
      this.#refuse(id, new NexusError('invalid_argument', 'the request is not a message of this call'));
      return;
    }
    const call = new ExchangedUnaryCall(method.path, metadataOf(given), request);
    this.#running.set(id, call);
    const bytes = given.request.length;
    this.#runningBytes += bytes;
    // handlers.ts uses no more of a call than this object has, and answers with a complete status.
    handle(call as unknown as ServerUnaryCall<unknown, unknown>, (error, response) => {
      this.#running.delete(id);
      this.#runningBytes -= bytes;
      if (error === null) this.#answer(id, method.responseSerialize(response));
      else this.#refuse(id, errorOfStatus(error as StatusObject));
      this.#endIfDone();
    });
  }

  #answer(id: number, response: Buffer): void {
    if (response.length > MAX_RESPONSE_BYTES)
      this.#refuse(id, new NexusError('resource_exhausted', 'the answer is too large; ask for less'));
    else this.#replies.add({ id, response, error: undefined }, response.length + REPLY_BYTES);
  }

  #refuse(id: number, thrown: NexusError): void {
    const { code, message, details } = toNexusError(thrown);
    const error = { code, message, details: JSON.stringify(details) };
    const bytes = REPLY_BYTES + message.length + error.details.length;
    this.#replies.add({ id, response: Buffer.alloc(0), error }, bytes);
  }

  #endIfDone(): void {
    if (!this.#isFinishing || this.#running.size > 0) return;
    this.#replies.flush();
    this.stream.end();
  }
}
