/** Runs Python in a sandbox, once. The output is collected in memory: the controller bounds it. */
import { z } from 'zod';
import { NexusError } from '../../../../shared/errors.js';
import type { LambdaResult } from '../../../../shared/gen/nexus/v1/lambda.js';
import { memberText, withMember } from '../../../../shared/json-text.js';
import { MIB } from '../../../../shared/limits.js';
import { plainShape, textOrBase64 } from '../../../../shared/rpc/shapes.js';
import { path } from '../fields.js';
import { invalid } from '../../../http/http-error.js';
import { route, type Route } from '../../../http/route.js';
import { lambdaResultSchema } from '../schemas.js';

/** Code and input, in JSON's encoding. */
const MAX_BODY_BYTES = 4 * MIB;
/** Largest value that fits into the message; the controller checks against the settings. */
const MAX_UINT32 = 2 ** 32 - 1;

export const lambdaRoutes: readonly Route[] = [
  route({
    method: 'post',
    path: '/api/lambda/run',
    tag: 'lambda',
    summary: 'Run Python once in a sandbox of its own; ends with the client',
    maxBodyBytes: MAX_BODY_BYTES,
    body: z.strictObject({
      code: z.string().min(1).describe('Python'),
      runtime: z.enum(['python3']).optional(),
      timeout_ms: z.int().min(1).max(MAX_UINT32).optional().describe('ms; default and most: by the settings'),
      memory_mb: z.int().min(1).max(MAX_UINT32).optional().describe('MB; default and most: by the settings'),
      stdin: z.string().optional().describe('what the code can read from standard input'),
      event: z.unknown().optional().describe('the global `event`, and the argument of `handler` where there is one'),
      files: z.array(path).max(64).optional().describe('paths of yours; the code finds each at /mnt/PATH'),
      node: z.string().optional().describe('name or id; default: the scheduler chooses'),
    }),
    answers: { 200: { description: 'how it ended, and its output', schema: lambdaResultSchema } },
    handle: async ({ session, body, bodyText }) => {
      const request = {
        code: body.code,
        runtime: body.runtime ?? 'python3',
        limits: { timeoutMs: body.timeout_ms ?? 0, memoryMb: body.memory_mb ?? 0 },
        input: {
          stdin: Buffer.from(body.stdin ?? ''),
          event: memberText(bodyText, 'event'),
          files: body.files ?? [],
          node: body.node ?? '',
        },
      };
      const output = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
      let result: LambdaResult | undefined;
      try {
        for await (const part of session.messages(session.lambda, session.lambda.runLambda, request)) {
          if (part.stdout !== undefined) output.stdout.push(part.stdout);
          if (part.stderr !== undefined) output.stderr.push(part.stderr);
          result = part.result ?? result;
        }
      } catch (error) {
        throw inFieldsOfBody(error);
      }
      if (result === undefined) throw new NexusError('cancelled', 'the client went away');
      const { stdout, stderr } = output;
      const { result: returned, ...rest } = result;
      const shown = { ...textOrBase64('stdout', stdout), ...textOrBase64('stderr', stderr), ...plainShape(rest) };
      if (returned === undefined) return { body: shown };
      return { type: 'application/json', body: withMember(JSON.stringify(shown), 'result', returned) };
    },
  }),
];

/** Names fields as in the body, e.g. `memory_mb` instead of `limits.memory_mb`. */
function inFieldsOfBody(thrown: unknown): unknown {
  if (!(thrown instanceof NexusError)) return thrown;
  const { field, problem } = thrown.details;
  const inner = typeof field === 'string' ? /^(?:limits|input)\.(.+)$/.exec(field)?.[1] : undefined;
  return inner === undefined || typeof problem !== 'string' ? thrown : invalid(inner, problem);
}
