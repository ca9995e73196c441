/** Turns use cases into grpc-js handlers: one place for cancellation, error translation and the log line of a failure. */
import type {
  Metadata,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerUnaryCall,
  ServerWritableStream,
} from '@grpc/grpc-js';
import { onAbort, outcome } from '../../shared/async/wait.js';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import { withRequestId, type Logger } from '../../shared/log.js';
import { REQUEST_ID_METADATA, statusOf } from '../../shared/rpc/status.js';
import type { Caller, Edge } from './admission.js';

export interface CallContext {
  readonly caller: Caller;
  /** Aborted when the caller goes away or its deadline passes. */
  readonly signal: AbortSignal;
}

interface Call {
  readonly metadata: Metadata;
  getPath(): string;
}

/** Request ids that a caller may choose: nothing that could forge a line of the log. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * Runs a call for the caller that the edge admits. All log lines of the call carry the request's id; `failed` receives
 * the error to answer with.
 */
export function admitted<Result>(
  edge: Edge,
  call: Call,
  work: (caller: Caller) => Promise<Result>,
  done: (result: Result) => void,
  failed: (error: NexusError) => void,
): void {
  const [given] = call.metadata.get(REQUEST_ID_METADATA);
  const requestId = typeof given === 'string' && REQUEST_ID.test(given) ? given : undefined;
  const run = (): void => {
    const startedAt = systemClock.monotonic();
    const note = (code: string): void => {
      edge.calls.note(call.getPath(), code, (systemClock.monotonic() - startedAt) / 1000);
    };
    const working = (async () => await work(await edge.admit(call.getPath(), call.metadata)))();
    working.then(
      (result) => {
        note('ok');
        done(result);
      },
      (thrown: unknown) => {
        const error = reported(thrown, edge.log, call.getPath());
        note(error.code);
        failed(error);
      },
    );
  };
  if (requestId === undefined) run();
  else withRequestId(requestId, run);
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
    admitted(
      edge,
      call,
      (caller) => handle(call.request, { caller, signal: cancel.signal }),
      (response) => {
        callback(null, response);
      },
      (error) => {
        callback(statusOf(error));
      },
    );
  };
}

export interface StreamContext<Response> extends CallContext {
  /** Resolves when the transport accepts more: awaiting it is the back-pressure. */
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
    admitted(
      edge,
      call,
      (caller) => handle(call.request, { caller, signal: cancel.signal, send }),
      () => {
        call.end();
      },
      (error) => {
        if (cancel.signal.aborted) call.end();
        else call.emit('error', statusOf(error));
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
  return outcome((resolve, reject) => {
    const onDrain = (): void => resolve();
    sink.once('drain', onDrain);
    const gone = onAbort(signal, (reason) => reject(toNexusError(reason)));
    return () => {
      gone[Symbol.dispose]();
      sink.removeListener('drain', onDrain);
    };
  });
}

/**
 * Logs internal errors with their stack, and with the output of a system program that failed; does not log rejected
 * input.
 */
function reported(thrown: unknown, log: Logger, method: string): NexusError {
  const error = toNexusError(thrown);
  if (error.code === 'internal' || error.details['program'] !== undefined)
    log.error({ err: thrown, method }, 'call failed');
  else log.debug({ code: error.code, method, said: error.message }, 'call refused');
  return error;
}
