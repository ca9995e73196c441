/** For supervisors and Prometheus: whether this process runs, whether it can serve, and its figures. */
import { route, type Route } from '../route.js';
import { healthSchema } from '../schemas.js';
import type { HttpMetrics } from '../metrics.js';

const tag = 'operation';

export const healthRoutes = (metrics: HttpMetrics): readonly Route[] => [
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
      await session.call(session.identity, session.identity.getSigningKeys, {}, READY_DEADLINE_MS);
      return { body: { status: 'ready' } };
    },
  }),
  route({
    method: 'get',
    path: '/metrics',
    tag,
    summary: 'Figures for Prometheus',
    isPublic: true,
    answers: { 200: { description: 'text format of Prometheus', type: 'text/plain' } },
    handle: async () => ({ body: await metrics.registry.metrics(), type: metrics.registry.contentType }),
  }),
];

const READY_DEADLINE_MS = 2000;
