/** `nexus lambda stats`: counters since the controller started, and how things are now. */
import type { GetLambdaStatisticsResponse } from '../../shared/gen/nexus/v1/lambda.js';
import { command } from '../runner/command.js';
import { facts } from '../terminal/output.js';
import { plainShape } from '../runner/shapes.js';

export const stats = command({
  summary: 'statistics of lambda',
  details: 'Counted since the controller started.',
  positionals: {},
  flags: {},
  examples: [['nexus lambda stats', 'invocations by reason, pool, queue']],
  run: async (_input, context) => {
    const { lambda, call } = await context.connect();
    const found = await call(lambda, lambda.getLambdaStatistics, {});
    // JSON has no infinity: the last bucket is "+Inf", as Prometheus writes it.
    const latency = found.latency.map(({ le, count }) => ({
      le: Number.isFinite(le) ? le : '+Inf',
      count: Number(count),
    }));
    await context.print({ ...plainShape(found), latency }, () => text(found));
    return 0;
  },
});

function text(found: GetLambdaStatisticsResponse): string {
  const total = Object.values(found.invocations).reduce((sum, count) => sum + Number(count), 0);
  const mean = total === 0 ? '-' : `${((found.latencySumSeconds * 1000) / total).toFixed(1)} ms`;
  return facts([
    ...Object.entries(found.invocations).map(([reason, count]): [string, string] => [reason, String(count)]),
    ['refused', String(found.refused)],
    ['mean time', mean],
    ['pool', `${found.poolReady} ready of ${found.poolTarget}; ${found.poolHits} hits, ${found.poolMisses} misses`],
    ['now', `${found.running} running, ${found.queueLength} waiting`],
  ]);
}
