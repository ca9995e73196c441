/** Request schemas of LambdaService: forms, ranges and defaults. */
import { z } from 'zod';
import type { Settings } from '../../../shared/config/settings.js';
import { MIN_LAMBDA_MEMORY_MB } from '../../../shared/limits.js';
import { problemOfEvent } from '../../lambda/event-text.js';
import { FUNCTION_NAME, type CheckLimits } from '../../lambda/functions.js';
import { LOGS_PER_FUNCTION, MAX_CODE_BYTES, MAX_EVENT_BYTES, MAX_FILES, MAX_STDIN_BYTES } from '../../lambda/limits.js';
import { parseOwnPath } from '../../vfs/path.js';

const bytesOf = (text: string): number => Buffer.byteLength(text);

const code = z
  .string()
  .min(1, 'give some code')
  .refine((text) => bytesOf(text) <= MAX_CODE_BYTES, `must be at most ${MAX_CODE_BYTES} bytes`);

const name = z
  .string()
  .regex(FUNCTION_NAME, 'must be 1 to 63 lower-case letters, digits and -, beginning with a letter');

export const functionSchema = z.object({ name });

const DEFAULT_LOGS = 20;
export const logsSchema = z.object({
  name,
  limit: z
    .number()
    .int()
    .max(LOGS_PER_FUNCTION, `must be at most ${LOGS_PER_FUNCTION}`)
    .transform((limit) => limit || DEFAULT_LOGS),
});

/** Zero means "not given" in protobuf. */
const orDefault = (value: number, least: number, most: number, unit: string) =>
  z
    .number()
    .int()
    .transform((given) => given || value)
    .refine((given) => given >= least && given <= most, `must be from ${least} to ${most} ${unit}`);

const limitsSchema = ({ lambdaTimeoutMs, lambdaMaxTimeoutMs, lambdaMemoryMb, lambdaMaxMemoryMb }: Settings) =>
  z
    .object({
      timeoutMs: orDefault(lambdaTimeoutMs, 1, lambdaMaxTimeoutMs, 'ms'),
      memoryMb: orDefault(lambdaMemoryMb, MIN_LAMBDA_MEMORY_MB, lambdaMaxMemoryMb, 'MB'),
    })
    .prefault({ timeoutMs: 0, memoryMb: 0 });

/** Checks the limits of a stored function as `deploy` would now; returns the problem, if there is one. */
export const limitsCheck =
  (settings: Settings): CheckLimits =>
  (limits) => {
    const [issue] = limitsSchema(settings).safeParse(limits).error?.issues ?? [];
    return issue === undefined ? undefined : `${issue.path[0] === 'memoryMb' ? 'memory' : 'time'} ${issue.message}`;
  };

/** The schemas with the bounds from the settings. */
export function schemas(settings: Settings) {
  const limits = limitsSchema(settings);
  const input = z
    .object({
      stdin: z
        .instanceof(Uint8Array)
        .refine(({ length }) => length <= MAX_STDIN_BYTES, `must be at most ${MAX_STDIN_BYTES} bytes`),
      event: z
        .string()
        // Skip parsing a text that is too long.
        .refine((text) => bytesOf(text) <= MAX_EVENT_BYTES, {
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
