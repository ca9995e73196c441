/** MetricsService: figures of nodes, the latest, an hour of them, and new ones as they come. */
import { z } from 'zod';
import { NexusError } from '../../shared/errors.js';
import type { MetricsServiceServer, NodeMetrics, WatchNodeMetricsResponse } from '../../shared/gen/nexus/v1/metrics.js';
import type { MetricsHistory } from '../metrics/history.js';
import type { NodeRegistry } from '../node/registry.js';
import { isListening } from '../node/state.js';
import type { NodeRecord } from '../store/port.js';
import type { Edge } from './edge.js';
import { serverStream, unary } from './handlers.js';
import { metricsShape } from './metrics-shape.js';
import { parseRequest } from './validate.js';

/** For a watcher that reads slowly; beyond it the oldest figures are left out, since newer ones replace them. */
const MAX_WAITING = 1000;

const historySchema = z.object({
  node: z.string(),
  since: z
    .string()
    .refine((text) => text === '' || !Number.isNaN(Date.parse(text)), 'must be a time such as 2026-01-31T12:00:00Z')
    .transform((text) => (text === '' ? 0 : Date.parse(text))),
});

export function metricsServiceHandlers(
  history: MetricsHistory,
  registry: NodeRegistry,
  getClusterMetrics: MetricsServiceServer['getClusterMetrics'],
  edge: Edge,
): MetricsServiceServer {
  return {
    getClusterMetrics,
    getNodeMetrics: unary(edge, ({ node }) => Promise.resolve({ metrics: latestOf(history, registry.resolve(node)) })),
    listNodeMetrics: unary(edge, () =>
      Promise.resolve({
        metrics: registry.list().flatMap((node) => {
          const sample = isListening(node.status) ? history.latest(node.id) : undefined;
          return sample === undefined ? [] : [metricsShape(node, sample)];
        }),
      }),
    ),
    getNodeMetricsHistory: unary(edge, (request) => {
      const { node: reference, since } = parseRequest(historySchema, request);
      const node = registry.resolve(reference);
      return Promise.resolve({ metrics: history.since(node.id, since).map((sample) => metricsShape(node, sample)) });
    }),
    watchNodeMetrics: serverStream(edge, async ({ node: reference }, { signal, send }) => {
      const wanted = reference === '' ? undefined : registry.resolve(reference).id;
      const waiting: WatchNodeMetricsResponse[] = [];
      let wake = (): void => undefined;
      const stop = history.listen((id, sample) => {
        const node = registry.get(id);
        if (node === undefined || (wanted !== undefined && id !== wanted)) return;
        waiting.push({ metrics: metricsShape(node, sample) });
        if (waiting.length > MAX_WAITING) waiting.shift();
        wake();
      });
      const onAbort = (): void => {
        wake();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        while (!signal.aborted) {
          const next = waiting.shift();
          if (next !== undefined) await send(next);
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        signal.removeEventListener('abort', onAbort);
        stop();
      }
    }),
  };
}

function latestOf(history: MetricsHistory, node: NodeRecord): NodeMetrics {
  if (!isListening(node.status)) {
    throw new NexusError(
      'failed_precondition',
      `node ${node.name} is ${node.status} and reports nothing; start it with: nexus node start ${node.name}`,
    );
  }
  const sample = history.latest(node.id);
  if (sample !== undefined) return metricsShape(node, sample);
  throw new NexusError('unavailable', `node ${node.name} has not reported yet; it does so every 5 s, try again`);
}
