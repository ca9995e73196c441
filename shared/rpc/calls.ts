/** Shared by all clients of the controller's services: the shape of their calls, and the meaning of failures. */
import type {
  CallOptions,
  ClientDuplexStream,
  ClientReadableStream,
  ClientUnaryCall,
  Metadata,
  ServiceError,
} from '@grpc/grpc-js';
import { onAbort } from '../async/wait.js';
import { NexusError } from '../errors.js';
import { CODE_KEY, errorOfStatus } from './status.js';

/** A method of a client, with one request and one answer. */
export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** The controller did not answer: it is away, or went before it did. Whether the call was carried out is unknown. */
export class ConnectionLost extends NexusError {
  constructor(message: string, cause: unknown) {
    super('unavailable', message, {}, { cause });
  }
}

/** Makes the message for a lost connection; may take a moment to find the cause. */
export type WhenBroken = () => string | Promise<string>;

/**
 * Returns the controller's error. `unavailable` that it did not send itself is a lost connection, described by
 * `whenBroken`.
 */
export async function callError(error: ServiceError, whenBroken: WhenBroken): Promise<NexusError> {
  const known = errorOfStatus(error);
  if (known.code !== 'unavailable' || error.metadata.get(CODE_KEY).length > 0) return known;
  return new ConnectionLost(await whenBroken(), error);
}

/** Yields the messages of a stream; ends without an error, and cancels the stream, when `signal` is aborted. */
export async function* streamMessages<Response>(
  stream: ClientReadableStream<Response> | ClientDuplexStream<never, Response>,
  signal: AbortSignal,
  whenBroken: WhenBroken,
): AsyncGenerator<Response> {
  const cancel = (): void => {
    (stream as { cancel(): void }).cancel();
  };
  using _gone = onAbort(signal, cancel);
  try {
    for await (const message of stream as AsyncIterable<Response>) yield message;
  } catch (error) {
    if (!signal.aborted) throw isServiceError(error) ? await callError(error, whenBroken) : error;
  } finally {
    cancel();
  }
}

const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && 'metadata' in error && 'details' in error;
