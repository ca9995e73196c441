/** Lambda's counters as their messages. */
import type { LambdaSummary } from '../../../shared/gen/nexus/v1/cluster.js';
import type { GetLambdaStatisticsResponse } from '../../../shared/gen/nexus/v1/lambda.js';
import type { Lambda } from '../../lambda/use-cases.js';

/** How things are at present. */
export const lambdaSummary = ({ dispatcher, pool }: Lambda): LambdaSummary => ({
  queueLength: dispatcher.queueLength,
  running: dispatcher.running,
  poolReady: pool.ready(),
  poolTarget: pool.target,
});

export const statisticsShape = (lambda: Lambda): GetLambdaStatisticsResponse => {
  const { statistics } = lambda;
  return {
    ...lambdaSummary(lambda),
    invocations: Object.fromEntries([...statistics.invocations].map(([reason, count]) => [reason, BigInt(count)])),
    refused: BigInt(statistics.refused),
    poolHits: BigInt(statistics.poolHits),
    poolMisses: BigInt(statistics.poolMisses),
    latency: statistics.latency.map(({ le, count }) => ({ le, count: BigInt(count) })),
    latencySumSeconds: statistics.latencySumSeconds,
  };
};
