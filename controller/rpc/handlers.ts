/** Turns use cases into grpc-js handlers: one place for cancellation, error translation and the log line of a failure. */
import type { handleServerStreamingCall, handleUnaryCall, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { statusOf } from '../../shared/rpc/status.js';
import type { Caller, Edge } from './edge.js';

export interface CallContext {
  readonly caller: Caller;
  /** Aborted when the caller goes away or its deadline passes. */
  readonly signal: AbortSignal;
}

export function unary<Request, Response>(
  edge: Edge,
  handle: (request: Request, context: CallContext) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call: ServerUnaryCall<Request, Response>, callback) => {
    const cancel = new AbortController();
    call.on('cancelled', () => {
      cancel.abort(new NexusError('cancelled', 'the caller went away'));
    });
    const run = async (): Promise<Response> => {
      const caller = await edge.admit(call.getPath(), call.metadata);
      return await handle(call.request, { caller, signal: cancel.signal });
    };
    run().then(
      (response) => {
        callback(null, response);
      },
      (error: unknown) => {
        callback(statusOf(reported(error, edge.log, call.getPath())));
      },
    );
  };
}

export interface StreamContext<Response> extends CallContext {
  /** Resolves when the transport wants more: awaiting it is the back-pressure. */
  send(response: Response): Promise<void>;
}

export function serverStream<Request, Response>(
  edge: Edge,
  handle: (request: Request, context: StreamContext<Response>) => Promise<void>,
): handleServerStreamingCall<Request, Response> {
  return (call: ServerWritableStream<Request, Response>) => {
    const cancel = new AbortController();
    call.on('cancelled', () => {
      cancel.abort(new NexusError('cancelled', 'the caller went away'));
    });
    const send = (response: Response): Promise<void> => sendOn(call, response, cancel.signal);
    const run = async (): Promise<void> => {
      const caller = await edge.admit(call.getPath(), call.metadata);
      await handle(call.request, { caller, signal: cancel.signal, send });
    };
    run().then(
      () => {
        call.end();
      },
      (error: unknown) => {
        if (cancel.signal.aborted) call.end();
        else call.emit('error', statusOf(reported(error, edge.log, call.getPath())));
      },
    );
  };
}

interface Sink<Message> {
  write(message: Message): boolean;
  once(event: 'drain', listener: () => void): unknown;
  removeListener(event: 'drain', listener: () => void): unknown;
}

/** Writes one message and waits for room; rejects when the call is cancelled meanwhile. */
export function sendOn<Message>(sink: Sink<Message>, message: Message, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.reject(toNexusError(signal.reason));
  if (sink.write(message)) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const onDrain = (): void => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    const onAbort = (): void => {
      sink.removeListener('drain', onDrain);
      reject(toNexusError(signal.reason));
    };
    sink.once('drain', onDrain);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Faults of ours go to the log with their stack; refusals of the caller's input do not. */
export function reported(thrown: unknown, log: Logger, method: string): NexusError {
  const error = toNexusError(thrown);
  if (error.code === 'internal') log.error({ err: thrown, method }, 'call failed');
  else log.debug({ code: error.code, method, said: error.message }, 'call refused');
  return error;
}
