/** LambdaService: validates requests, runs code, converts output and results. */
import type { Settings } from '../../../shared/config/settings.js';
import type {
  LambdaFunction,
  LambdaInput,
  LambdaResult as ResultMessage,
  LambdaServiceServer,
} from '../../../shared/gen/nexus/v1/lambda.js';
import { MIB } from '../../../shared/limits.js';
import type { BrokenFunction, FunctionRecord } from '../../lambda/functions.js';
import type { LambdaResult } from '../../lambda/invoke.js';
import type { Lambda } from '../../lambda/use-cases.js';
import type { Given, Invocations } from '../../lambda/invocations.js';
import type { OnOutput } from '../../lambda/watchdog.js';
import type { NodeRegistry } from '../../node/registry.js';
import type { Edge } from '../admission.js';
import { serverStream, unary, type StreamContext } from '../handlers.js';
import { functionSchema, logsSchema, schemas } from './lambda-schemas.js';
import { statisticsShape } from './lambda-shapes.js';
import { parseRequest } from '../validate.js';

interface Part {
  stdout?: Buffer;
  stderr?: Buffer;
  result?: ResultMessage;
}

export interface LambdaEdgeDeps {
  readonly lambda: Lambda;
  readonly invocations: Invocations;
  readonly registry: NodeRegistry;
  readonly settings: Settings;
}

export function lambdaServiceHandlers(deps: LambdaEdgeDeps, edge: Edge): LambdaServiceServer {
  const { lambda, invocations, registry, settings } = deps;
  const { run, deploy, invoke } = schemas(settings);
  const given = (user: string, input: Omit<Given, 'user' | 'node'> & { node: string }): Given => ({
    ...input,
    user,
    node: input.node === '' ? undefined : registry.resolve(input.node).id,
  });
  return {
    runLambda: serverStream(edge, async (request, context) => {
      using _held = edge.bodies.take(context.caller.user, request.code.length + bytesOf(request.input));
      const { code, limits, input } = parseRequest(run, request);
      const bounds = { memoryBytes: limits.memoryMb * MIB, timeoutMs: limits.timeoutMs };
      await streamed(context, (pass) =>
        invocations.run(code, bounds, given(context.caller.user, input), pass, context.signal),
      );
    }),
    invokeFunction: serverStream(edge, async (request, context) => {
      using _held = edge.bodies.take(context.caller.user, bytesOf(request.input));
      const { name, input } = parseRequest(invoke, request);
      await streamed(context, (pass) =>
        invocations.invoke(name, given(context.caller.user, input), pass, context.signal),
      );
    }),
    deployFunction: unary(edge, async (request, { caller, signal }) => {
      using _held = edge.bodies.take(caller.user, request.code.length);
      const { name, code, limits } = parseRequest(deploy, request);
      return { function: functionShape(await invocations.functions.deploy(caller.user, name, code, limits, signal)) };
    }),
    listFunctions: unary(edge, async (_request, { caller, signal }) => ({
      functions: (await invocations.functions.list(caller.user, signal)).map(functionShape),
    })),
    removeFunction: unary(edge, async (request, { caller }) => {
      await invocations.remove(caller.user, parseRequest(functionSchema, request).name);
      return {};
    }),
    getFunctionLogs: unary(edge, async (request, { caller, signal }) => {
      const { name, limit } = parseRequest(logsSchema, request);
      const logs = await invocations.logsOf(caller.user, name, limit, signal);
      return {
        logs: logs.map(({ atMs, version, result, output }) => ({
          at: new Date(atMs).toISOString(),
          version,
          result: resultShape(result),
          output,
        })),
      };
    }),
    getLambdaStatistics: unary(edge, () => Promise.resolve(statisticsShape(lambda))),
  };
}

/** Size of the input that is held while the code waits for a place and runs. */
const bytesOf = (input: LambdaInput | undefined): number => (input?.stdin.length ?? 0) + (input?.event?.length ?? 0);

/** A sandbox's output is limited, so the part that waits for a slow reader is bounded. */
async function streamed({ send }: StreamContext<Part>, work: (pass: OnOutput) => Promise<LambdaResult>): Promise<void> {
  let sending = Promise.resolve();
  const result = await work((stream, data) => {
    // Once the caller is gone every send fails; the end of the call reports that.
    sending = sending.then(() => send({ [stream]: data })).catch(() => undefined);
  });
  await sending;
  await send({ result: resultShape(result) });
}

const resultShape = ({ peakMemoryBytes, ...rest }: LambdaResult): ResultMessage => ({
  ...rest,
  peakMemoryBytes: BigInt(peakMemoryBytes),
});

const functionShape = (one: FunctionRecord | BrokenFunction): LambdaFunction => {
  if ('problem' in one) return { ...NOTHING_KNOWN, ...one };
  const { size, deployedAt, ...rest } = one;
  return { ...rest, size: BigInt(size), deployedAt: new Date(deployedAt).toISOString(), problem: '' };
};

const NOTHING_KNOWN = { version: '', timeoutMs: 0, memoryMb: 0, size: 0n, deployedAt: '', versions: 0 };
