/** LambdaService: requests checked, code run, output and results shown. */
import type { LambdaServiceServer, LambdaResult as ResultMessage } from '../../shared/gen/nexus/v1/lambda.js';
import type { Settings } from '../../shared/config/settings.js';
import { MIB } from '../../shared/limits.js';
import type { LambdaRequest, LambdaResult } from '../lambda/invoke.js';
import type { Lambda } from '../lambda/use-cases.js';
import type { Stream } from '../lambda/watchdog.js';
import type { NodeRegistry } from '../node/registry.js';
import type { Edge } from './edge.js';
import { serverStream, unary, type StreamContext } from './handlers.js';
import { schemas } from './lambda-schemas.js';
import { parseRequest } from './validate.js';

interface Part {
  stdout?: Buffer;
  stderr?: Buffer;
  result?: ResultMessage;
}

export function lambdaServiceHandlers(
  lambda: Lambda,
  registry: NodeRegistry,
  settings: Settings,
  edge: Edge,
): LambdaServiceServer {
  const { run } = schemas(settings);
  const { statistics, dispatcher, pool } = lambda;
  return {
    runLambda: serverStream(edge, async (request, context) => {
      const { code, limits, input } = parseRequest(run, request);
      await stream(lambda, context, {
        user: context.caller.user,
        code,
        event: input.event,
        stdin: input.stdin,
        files: [],
        memoryBytes: limits.memoryMb * MIB,
        timeoutMs: limits.timeoutMs,
        node: input.node === '' ? undefined : registry.resolve(input.node).id,
      });
    }),
    getLambdaStatistics: unary(edge, () =>
      Promise.resolve({
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
      }),
    ),
  };
}

/** A sandbox writes no more than its limit of output, so what waits for a slow reader is bounded. */
async function stream(lambda: Lambda, { signal, send }: StreamContext<Part>, request: LambdaRequest): Promise<void> {
  let sending = Promise.resolve();
  const pass = (name: Stream, data: Buffer): void => {
    // Once the caller is gone every send fails, which the end of the call reports.
    sending = sending.then(() => send(name === 'stdout' ? { stdout: data } : { stderr: data })).catch(() => undefined);
  };
  const result = await lambda.invoker.run(request, pass, signal);
  await sending;
  await send({ result: resultShape(result) });
}

const resultShape = ({ peakMemoryBytes, ...rest }: LambdaResult): ResultMessage => ({
  ...rest,
  peakMemoryBytes: BigInt(peakMemoryBytes),
});
