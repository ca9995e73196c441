/**
 * What happens in the cluster, as server-sent events. A client that comes again with Last-Event-ID gets what it missed,
 * as far back as the history goes. While the controller is away the stream stays open and goes on where it was.
 */
import { PassThrough } from 'node:stream';
import { z } from 'zod';
import { toNexusError } from '../../shared/errors.js';
import { eventShape } from '../../shared/rpc/shapes.js';
import type { Session } from '../controller.js';
import { invalid } from '../http-error.js';
import { route, type Route } from '../route.js';

/** Proxies cut connections on which nothing comes for a minute; also how soon a token that was revoked ends a stream. */
const KEEP_ALIVE_MS = 15_000;
const RETRY_MS = 1000;
/** Of a client that reads nothing. */
const MAX_WAITING_BYTES = 1024 * 1024;

export const eventRoutes: readonly Route[] = [
  route({
    method: 'get',
    path: '/api/events',
    tag: 'events',
    summary: 'What happens, as server-sent events: first what is kept, then what comes; Last-Event-ID resumes',
    query: z.strictObject({
      after: z
        .string()
        .regex(/^\d{1,15}$/, 'must be the id of an event')
        .optional()
        .describe('as Last-Event-ID'),
    }),
    answers: { 200: { description: 'a stream of events', type: 'text/event-stream' } },
    handle: async ({ session, koa, query, draining }) => {
      const after = lastEventId(koa.get('last-event-id')) ?? query.after ?? '0';
      // Whoever may not see events is to be told so by a status.
      await session.call(session.identity.whoAmI, {});
      const out = new PassThrough();
      koa.set('Cache-Control', 'no-store');
      koa.set('X-Accel-Buffering', 'no');
      koa.type = 'text/event-stream';
      koa.body = out;
      void stream(session, out, BigInt(after), draining);
      return undefined;
    },
  }),
];

function lastEventId(header: string): string | undefined {
  if (header === '') return undefined;
  if (!/^\d{1,15}$/.test(header)) throw invalid('last-event-id', 'must be the id of an event');
  return header;
}

async function stream(session: Session, out: PassThrough, from: bigint, draining: AbortSignal): Promise<void> {
  const end = new AbortController();
  const onEnd = (): void => {
    end.abort();
    out.end();
  };
  session.signal.addEventListener('abort', onEnd, { once: true });
  draining.addEventListener('abort', onEnd, { once: true });
  const keepAlive = setInterval(() => {
    say(out, ': still here\n\n');
    session.call(session.identity.whoAmI, {}).catch((error: unknown) => {
      if (toNexusError(error).code === 'unauthenticated') onEnd();
    });
  }, KEEP_ALIVE_MS);
  say(out, `retry: ${RETRY_MS}\n\n`);
  try {
    for (let after = from; !end.signal.aborted;) {
      after = await follow(session, out, after, end.signal);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  } finally {
    clearInterval(keepAlive);
    session.signal.removeEventListener('abort', onEnd);
    draining.removeEventListener('abort', onEnd);
    out.end();
  }
}

/** Until the controller or the client goes; answers the last event's id. */
async function follow(session: Session, out: PassThrough, from: bigint, end: AbortSignal): Promise<bigint> {
  let after = from;
  try {
    const request = { follow: true, afterId: after };
    for await (const { event } of session.messages(session.cluster, session.cluster.watchEvents, request)) {
      if (end.aborted) break;
      if (event === undefined) continue;
      say(out, `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(eventShape(event))}\n\n`);
      after = event.id;
    }
  } catch (error) {
    if (toNexusError(error).code === 'unauthenticated') out.end();
  }
  return after;
}

/** A client that does not read is let go; it comes again with the last id it saw. */
function say(out: PassThrough, text: string): void {
  if (out.writableEnded || out.destroyed) return;
  if (out.writableLength + out.readableLength > MAX_WAITING_BYTES) out.destroy();
  else out.write(text);
}
