/** The limits that a caller may set for an invocation: defaults and bounds come from the settings. */
import { z } from 'zod';
import type { Settings } from '../../shared/config/settings.js';
import { MIN_LAMBDA_MEMORY_MB } from '../../shared/limits.js';
import type { CheckLimits } from './functions.js';

/** Zero means "not given" in protobuf. */
const orDefault = (value: number, least: number, most: number, unit: string) =>
  z
    .number()
    .int()
    .transform((given) => given || value)
    .refine((given) => given >= least && given <= most, `must be from ${least} to ${most} ${unit}`);

/** An invocation's limits, with the defaults and bounds of the settings. */
export const limitsSchema = ({ lambdaTimeoutMs, lambdaMaxTimeoutMs, lambdaMemoryMb, lambdaMaxMemoryMb }: Settings) =>
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
