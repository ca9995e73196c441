/**
 * MetricsService: figures of nodes, the latest, an hour of them, and new ones as they come; and the figures of the
 * cluster, which the gateway shows to Prometheus. Anybody who reaches the gateway may read those, so there are names of
 * nodes in them and nothing that belongs to a user.
 */
import { z } from 'zod';
import type {
  CallMetrics,
  ControllerMetrics,
  GetClusterMetricsResponse,
  MetricsServiceServer,
  NodeMetrics,
  ObservedNode,
} from '../../../shared/gen/nexus/v1/metrics.js';
import { measuredShape } from '../../../shared/metrics/node-fields.js';
import { VERSION } from '../../../shared/version.js';
import type { MailQueue } from '../../identity/mail-queue.js';
import type { Lambda } from '../../lambda/use-cases.js';
import type { CallStatistics } from '../../metrics/call-statistics.js';
import { expectFigures, latestFigures } from '../../metrics/figures.js';
import type { Sample } from '../../metrics/sample.js';
import { StorageCounts } from '../../metrics/storage-counts.js';
import { watchFigures } from '../../metrics/watch.js';
import type { NodeContext } from '../../node/context.js';
import { hasFigures, isListening } from '../../node/state.js';
import { conditionOf, takesChunks } from '../../node/watch/volume-condition.js';
import type { Upkeep } from '../../repair/upkeep.js';
import type { NodeRecord, Store } from '../../store/port/store.js';
import type { Edge } from '../admission.js';
import { serverStream, unary } from '../handlers.js';
import { repairShape, statisticsShape, storageShape } from '../shapes.js';
import { parseRequest } from '../validate.js';

const historySchema = z.object({
  node: z.string(),
  since: z
    .string()
    .refine((text) => text === '' || !Number.isNaN(Date.parse(text)), 'must be a time such as 2026-01-31T12:00:00Z')
    .transform((text) => (text === '' ? 0 : Date.parse(text))),
});

export interface MetricsDeps {
  readonly context: NodeContext;
  readonly store: Pick<Store, 'files' | 'replicas'>;
  readonly upkeep: Upkeep;
  readonly lambda: Lambda;
  readonly mails: Pick<MailQueue, 'statistics' | 'length'>;
  readonly startedAt: number;
  readonly ownLog: { readonly dropped: number };
}

export function metricsServiceHandlers(deps: MetricsDeps, edge: Edge): MetricsServiceServer {
  const { context } = deps;
  const { metrics: history, registry } = context;
  return {
    getClusterMetrics: clusterMetricsHandler(deps, edge),
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

/** The store is counted once for all who ask within a while. */
function clusterMetricsHandler(deps: MetricsDeps, edge: Edge): MetricsServiceServer['getClusterMetrics'] {
  const { context, store, upkeep, lambda, mails } = deps;
  const counts = new StorageCounts(store, context.clock);
  return unary(edge, async (): Promise<GetClusterMetricsResponse> => {
    const { totals, copies } = await counts.read();
    return {
      controller: controllerShape(deps),
      nodes: context.registry.list().map((node) => observed(context, node)),
      storage: storageShape(totals, context, upkeep),
      copies: Object.fromEntries([...copies].map(([state, count]) => [state, BigInt(count)])),
      repair: repairShape(upkeep),
      upkeep: {
        copiedChunks: BigInt(upkeep.repair.copied.chunks),
        copiedBytes: BigInt(upkeep.repair.copied.bytes),
        scrubbedBytes: BigInt(upkeep.scrub.checkedBytes),
        scrubFinds: BigInt(upkeep.scrub.badCopies),
      },
      lambda: statisticsShape(lambda),
      calls: callShapes(edge.calls),
      hostDisks: context.hostRoom.disks.map(({ places, totalBytes, freeBytes, totalInodes, freeInodes }) => ({
        places: [...places],
        totalBytes: BigInt(totalBytes),
        freeBytes: BigInt(freeBytes),
        totalInodes: BigInt(totalInodes),
        freeInodes: BigInt(freeInodes),
      })),
      mail: {
        sent: BigInt(mails.statistics.sent),
        failed: BigInt(mails.statistics.failed),
        queueLength: mails.length,
      },
      busUp: context.causes.isUp('bus'),
      networkUp: context.causes.isUp('network'),
    };
  });
}

function controllerShape({ context, startedAt, ownLog }: MetricsDeps): ControllerMetrics {
  const { user, system } = process.cpuUsage();
  return {
    version: VERSION,
    instance: context.settings.instance,
    runtime: context.settings.runtime,
    startedAtSeconds: startedAt / 1000,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: BigInt(process.memoryUsage.rss()),
    logLinesDropped: BigInt(ownLog.dropped),
  };
}

function observed({ metrics, registry, hostings }: NodeContext, node: NodeRecord): ObservedNode {
  const agent = registry.agent(node.id);
  const { state } = conditionOf(agent);
  const isUp = isListening(node.status);
  const sample = latestFigures(metrics, node);
  return {
    name: node.name,
    status: node.status,
    schedulable: node.status === 'Running' && !node.cordoned && !node.draining && takesChunks(state),
    volumeState: hasFigures(node.status) && agent?.report !== undefined ? state : '',
    rejectedMessages: BigInt(registry.misconduct.rejected(node.id)),
    agentAddress: isUp ? hostings.of(node).addressOf(node) : '',
    metrics: sample === undefined ? undefined : metricsShape(node, sample),
  };
}

const callShapes = ({ byMethod }: CallStatistics): CallMetrics[] =>
  [...byMethod].map(([method, { calls, latency }]) => ({
    method,
    calls: Object.fromEntries([...calls].map(([code, count]) => [code, BigInt(count)])),
    latency: latency.buckets.map(({ le, count }) => ({ le, count: BigInt(count) })),
    latencySumSeconds: latency.sumSeconds,
  }));

export const metricsShape = (node: NodeRecord, sample: Sample): NodeMetrics => ({
  nodeId: node.id,
  node: node.name,
  at: new Date(sample.atMs).toISOString(),
  ...measuredShape(sample),
});
