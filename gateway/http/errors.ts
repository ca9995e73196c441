/**
 * Answers whatever was thrown as `{error, code, details}` with its status; internal errors go to the log with their
 * stack.
 */
import type { Context, Middleware } from 'koa';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { after, cancel } from '../../shared/async/timers.js';
import { meaningOf, NexusError, toNexusError } from '../../shared/errors.js';
import { HttpError } from './http-error.js';
import type { RequestLog } from './request-log.js';
import { stateOf } from './request.js';

/** Time for which a client may go on sending a body that was refused, so that it can read why. */
const LINGER_MS = 1000;
const RETRY_AFTER_S = '1';

export function errors(requests: RequestLog): Middleware {
  return async (context, next) => {
    try {
      await next();
    } catch (thrown) {
      const error = ofKoa(thrown) ?? toNexusError(thrown);
      if (error.code === 'internal') {
        const { requestId, address } = stateOf(context);
        const line = { message: 'request failed', address, isTrusted: false, level: 'error' } as const;
        requests.write(line, { requestId, err: thrown });
      }
      answer(context, error);
    }
  };
}

function answer(context: Context, error: NexusError): void {
  // Too late for an error message: a body that breaks off is the only sign left.
  if (context.res.headersSent) {
    context.respond = false;
    context.res.destroy();
    return;
  }
  context.respond = true;
  context.status = error instanceof HttpError ? error.status : meaningOf(error.code).http;
  for (const name of ['Content-Range', 'Content-Disposition', 'ETag', 'Cache-Control', 'Last-Modified'])
    context.remove(name);
  if (error instanceof HttpError) context.set(error.headers);
  const retryAfter = retryAfterOf(error) ?? (context.status === 503 ? RETRY_AFTER_S : undefined);
  if (retryAfter !== undefined) context.set('Retry-After', retryAfter);
  if (context.status === 401) context.set('WWW-Authenticate', 'Bearer');
  context.body = { error: messageOf(error), code: error.code, details: error.details };
  if (!context.req.complete) endSoon(context);
}

/** Whole seconds, if the refusal has `retry_after_ms`. */
function retryAfterOf({ details }: NexusError): string | undefined {
  const ms = details['retry_after_ms'];
  return typeof ms === 'number' ? String(Math.max(1, Math.ceil(ms / 1000))) : undefined;
}

/** Hides the text of internal errors from the client. */
const messageOf = (error: NexusError): string =>
  error.code === 'internal' ? 'internal error; the log has it under this request’s id' : inCommandWords(error);

/** If the rest of the body comes meanwhile, the connection may serve the next request. */
function endSoon({ req }: Context): void {
  // A request that was destroyed meanwhile has no socket any more.
  const timer = after(LINGER_MS, () => (req.socket as typeof req.socket | null)?.destroy());
  const keep = (): void => cancel(timer);
  req.once('end', keep).once('close', keep);
  req.resume();
}

/** Koa and its router throw errors of their own for a few things, with a status. */
function ofKoa(thrown: unknown): NexusError | undefined {
  if (thrown instanceof NexusError || !(thrown instanceof Error) || !('status' in thrown)) return undefined;
  const status = thrown.status;
  if (status !== 400) return undefined;
  return new HttpError(status, 'invalid_argument', 'the address is malformed');
}
