/**
 * Cluster events as server-sent events. A client that reconnects with Last-Event-ID receives what it missed, as far
 * back as the history goes. While the controller is away the stream stays open, then resumes where it was.
 */
import { PassThrough } from 'node:stream';
import { z } from 'zod';
import { every } from '../../../../shared/async/timers.js';
import { deferred, endsWithin, onAbort } from '../../../../shared/async/wait.js';
import { toNexusError } from '../../../../shared/errors.js';
import { eventShape } from '../../../../shared/rpc/shapes.js';
import type { Event } from '../../../../shared/gen/nexus/v1/cluster.js';
import type { Session } from '../../../controller/controller.js';
import { RETRY_MS, type EventFeeds, type Reader } from '../../../controller/event-feeds.js';
import { invalid } from '../../../http/http-error.js';
import { stateOf } from '../../../http/request.js';
import { route, type Route } from '../../../http/route.js';
import { bearerToken } from '../../../http/token.js';

/** Proxies close connections that are silent for a minute. Also the time within which a revoked token ends a stream. */
const KEEP_ALIVE_MS = 15_000;
/** Bytes that may queue for a client that does not read. */
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
    handle: async ({ session, koa, query, draining, feeds, streams }) => {
      const after = lastEventId(koa.get('last-event-id')) ?? query.after ?? '0';
      // Check permission before the stream starts, so that a refusal is an HTTP status.
      const { username, role } = await session.call(session.identity.whoAmI, {});
      const place = streams.take(username);
      const out = new PassThrough();
      koa.set('Cache-Control', 'no-store');
      koa.set('X-Accel-Buffering', 'no');
      koa.type = 'text/event-stream';
      koa.body = out;
      const reader = { token: bearerToken(koa.get('authorization')), address: stateOf(koa).address, role, username };
      void stream({ session, out, feeds, reader, draining }, BigInt(after)).finally(() => {
        place[Symbol.dispose]();
      });
      return undefined;
    },
  }),
];

function lastEventId(header: string): string | undefined {
  if (header === '') return undefined;
  if (!/^\d{1,15}$/.test(header)) throw invalid('last-event-id', 'must be the id of an event');
  return header;
}

interface OpenStream {
  readonly session: Session;
  readonly out: PassThrough;
  readonly feeds: EventFeeds;
  readonly reader: Pick<Reader, 'token' | 'address'> & { readonly username: string; readonly role: string };
  readonly draining: AbortSignal;
}

/** Resolves when the client has gone, or the stream was ended. */
async function stream({ session, out, feeds, reader, draining }: OpenStream, from: bigint): Promise<void> {
  const end = new AbortController();
  const onEnd = (): void => {
    end.abort();
    out.end();
  };
  const endWith = (why: string): void => {
    if (!end.signal.aborted) out.write(`: ${why}\n\n`);
    onEnd();
  };
  using _gone = onAbort(session.signal, onEnd);
  using _draining = onAbort(draining, onEnd);
  const say = (text: string): void => {
    if (end.signal.aborted) return;
    // A client that does not read reconnects with the last id it saw.
    if (out.writableLength + out.readableLength > MAX_WAITING_BYTES)
      endWith('the events were read too slowly; connect again');
    else out.write(text);
  };
  using _keepAlive = every(KEEP_ALIVE_MS, () => {
    say(': still here\n\n');
    session.call(session.identity.whoAmI, {}).then(
      ({ role }) => {
        // The role decided what may be seen when the stream began.
        if (role !== reader.role) endWith('your role has changed; connect again');
      },
      (error: unknown) => {
        if (toNexusError(error).code === 'unauthenticated') endWith('log in again');
      },
    );
  });
  say(`retry: ${RETRY_MS}\n\n`);
  let last = from;
  const tell = (event: Event): void => {
    last = event.id;
    say(`id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(eventShape(event))}\n\n`);
  };
  const gone = deferred();
  onAbort(end.signal, () => gone.resolve());
  while (!end.signal.aborted) {
    try {
      const { token, address, username, role } = reader;
      await feeds.follow(`${username} ${role}`, { token, address, tell, end: endWith }, session, last, end.signal);
      break;
    } catch (error) {
      if (toNexusError(error).code === 'unauthenticated') endWith('log in again');
    }
    await endsWithin(RETRY_MS, gone.promise);
  }
  await gone.promise;
}
