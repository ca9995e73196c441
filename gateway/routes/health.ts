/** For supervisors: whether this process runs, and whether it can serve. */
import { route, type Route } from '../route.js';
import { healthSchema } from '../schemas.js';

const tag = 'operation';

export const healthRoutes: readonly Route[] = [
  route({
    method: 'get',
    path: '/healthz',
    tag,
    summary: 'Whether the gateway runs',
    isPublic: true,
    answers: { 200: { description: 'it runs', schema: healthSchema } },
    handle: () => Promise.resolve({ body: { status: 'ok' } }),
  }),
  route({
    method: 'get',
    path: '/readyz',
    tag,
    summary: 'Whether the controller behind it answers; 503 otherwise',
    isPublic: true,
    answers: { 200: { description: 'it answers', schema: healthSchema } },
    handle: async ({ session }) => {
      await session.call(session.identity.getSigningKeys, {}, READY_DEADLINE_MS);
      return { body: { status: 'ready' } };
    },
  }),
];

const READY_DEADLINE_MS = 2000;
