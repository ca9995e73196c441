/** LambdaService: validates requests, runs code, converts output and results. */
import { z } from 'zod';
import type { Settings } from '../../../shared/config/settings.js';
import type {
  LambdaFunction,
  LambdaInput,
  LambdaResult as ResultMessage,
  LambdaServiceServer,
} from '../../../shared/gen/nexus/v1/lambda.js';
import { MIB } from '../../../shared/limits.js';
import { problemOfEvent } from '../../lambda/event-text.js';
import { limitsSchema } from '../../lambda/function-limits.js';
import { FUNCTION_NAME, type BrokenFunction, type FunctionRecord } from '../../lambda/functions.js';
import type { LambdaResult } from '../../lambda/invoke.js';
import type { Lambda } from '../../lambda/use-cases.js';
import type { Given, Invocations } from '../../lambda/invocations.js';
import { LOGS_PER_FUNCTION, MAX_CODE_BYTES, MAX_EVENT_BYTES, MAX_FILES, MAX_STDIN_BYTES } from '../../lambda/limits.js';
import type { OnOutput } from '../../lambda/watchdog.js';
import type { NodeRegistry } from '../../node/registry.js';
import { parseOwnPath } from '../../vfs/path.js';
import type { Edge } from '../admission.js';
import { serverStream, unary, type StreamContext } from '../handlers.js';
import { statisticsShape } from '../shapes.js';
import { parseRequest } from '../validate.js';

const code = z
  .string()
  .min(1, 'give some code')
  .refine((text) => Buffer.byteLength(text) <= MAX_CODE_BYTES, `must be at most ${MAX_CODE_BYTES} bytes`);

const name = z
  .string()
  .regex(FUNCTION_NAME, 'must be 1 to 63 lower-case letters, digits and -, beginning with a letter');

const functionSchema = z.object({ name });

const DEFAULT_LOGS = 20;
const logsSchema = z.object({
  name,
  limit: z
    .number()
    .int()
    .max(LOGS_PER_FUNCTION, `must be at most ${LOGS_PER_FUNCTION}`)
    .transform((limit) => limit || DEFAULT_LOGS),
});

/** The schemas with the bounds from the settings. */
function schemas(settings: Settings) {
  const limits = limitsSchema(settings);
  const input = z
    .object({
      stdin: z
        .instanceof(Uint8Array)
        .refine(({ length }) => length <= MAX_STDIN_BYTES, `must be at most ${MAX_STDIN_BYTES} bytes`),
      event: z
        .string()
        // Skip parsing a text that is too long.
        .refine((text) => Buffer.byteLength(text) <= MAX_EVENT_BYTES, {
          error: `must be at most ${MAX_EVENT_BYTES} bytes`,
          abort: true,
        })
        .superRefine((text, { addIssue }) => {
          const problem = problemOfEvent(text);
          if (problem !== undefined) addIssue(problem);
        })
        .optional(),
      files: z
        .array(z.string())
        .max(MAX_FILES, `must be at most ${MAX_FILES}`)
        .transform((paths) => paths.map((path) => parseOwnPath(path, 'input.files'))),
      node: z.string(),
    })
    .prefault({ stdin: new Uint8Array(), files: [], node: '' });
  const runtime = z.string().refine((name) => name === '' || name === 'python3', 'must be python3');
  return {
    run: z.object({ code, runtime, limits, input }),
    deploy: z.object({ name, code, limits }),
    invoke: z.object({ name, input }),
  };
}

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
