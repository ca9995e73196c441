/** Lambda's counters as their message. */
import type { GetLambdaStatisticsResponse } from '../../shared/gen/nexus/v1/lambda.js';
import type { Lambda } from '../lambda/use-cases.js';

export const statisticsShape = ({ statistics, dispatcher, pool }: Lambda): GetLambdaStatisticsResponse => ({
  invocations: Object.fromEntries([...statistics.invocations].map(([reason, count]) => [reason, BigInt(count)])),
  refused: BigInt(statistics.refused),
  poolHits: BigInt(statistics.poolHits),
  poolMisses: BigInt(statistics.poolMisses),
  latency: statistics.latency.map(({ le, count }) => ({ le, count: BigInt(count) })),
  latencySumSeconds: statistics.latencySumSeconds,
  queueLength: dispatcher.queueLength,
  running: dispatcher.running,
  poolReady: pool.ready(),
  poolTarget: pool.target,
});
