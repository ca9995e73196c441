/** For supervisors: whether this process runs, and whether it can serve. */
import { route, type Route } from '../../../http/route.js';
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
    summary: 'Whether the controller behind it answers and reaches its nodes; 503 otherwise',
    isPublic: true,
    answers: {
      200: { description: 'it answers', schema: healthSchema },
      503: { description: 'it does not, or no node can be reached', schema: healthSchema },
    },
    handle: async ({ session }) => {
      const { causes } = await session.call(session.cluster.getReadiness, {}, READY_DEADLINE_MS);
      // Data goes to the nodes without the bus, and not without their network.
      const isReady = causes.every(({ kind }) => kind !== 'network');
      const named = causes.map(({ kind, problem, since }) => ({ kind, problem, since }));
      return {
        status: isReady ? 200 : 503,
        body: { status: isReady ? 'ready' : 'not ready', ...(named.length === 0 ? {} : { causes: named }) },
      };
    },
  }),
];

const READY_DEADLINE_MS = 2000;
