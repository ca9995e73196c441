/** MetricsService: figures of nodes, the latest, an hour of them, and new ones as they come. */
import { z } from 'zod';
import type { MetricsServiceServer } from '../../../shared/gen/nexus/v1/metrics.js';
import { expectFigures, latestFigures } from '../../metrics/figures.js';
import { watchFigures } from '../../metrics/watch.js';
import type { NodeContext } from '../../node/context.js';
import type { Edge } from '../admission.js';
import { serverStream, unary } from '../handlers.js';
import { metricsShape } from './metrics-shape.js';
import { parseRequest } from '../validate.js';

const historySchema = z.object({
  node: z.string(),
  since: z
    .string()
    .refine((text) => text === '' || !Number.isNaN(Date.parse(text)), 'must be a time such as 2026-01-31T12:00:00Z')
    .transform((text) => (text === '' ? 0 : Date.parse(text))),
});

export function metricsServiceHandlers(
  context: NodeContext,
  getClusterMetrics: MetricsServiceServer['getClusterMetrics'],
  edge: Edge,
): MetricsServiceServer {
  const { metrics: history, registry } = context;
  return {
    getClusterMetrics,
    getNodeMetrics: unary(edge, ({ node: reference }) => {
      const node = registry.resolve(reference);
      return Promise.resolve({ metrics: metricsShape(node, expectFigures(history, node)) });
    }),
    listNodeMetrics: unary(edge, () =>
      Promise.resolve({
        metrics: registry.list().flatMap((node) => {
          const sample = latestFigures(history, node);
          return sample === undefined ? [] : [metricsShape(node, sample)];
        }),
      }),
    ),
    getNodeMetricsHistory: unary(edge, (request) => {
      const { node: reference, since } = parseRequest(historySchema, request);
      const node = registry.resolve(reference);
      return Promise.resolve({ metrics: history.since(node.id, since).map((sample) => metricsShape(node, sample)) });
    }),
    watchNodeMetrics: serverStream(edge, async ({ node: reference }, { caller, signal, send }) => {
      using _place = edge.streams.take(caller.user);
      await watchFigures(context, {
        reference,
        signal,
        send: (node, sample) => send({ metrics: metricsShape(node, sample) }),
      });
    }),
  };
}
