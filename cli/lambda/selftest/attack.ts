/** Attacks on sandboxes: programs for one sandbox after the other, each of which reports whether it got through. */
import { said as saidBy, type Attack as AnyAttack, type Verdict } from '../../selftest/attack.js';
import { PRELUDE } from '../../selftest/prelude.js';
import type { LambdaResult } from '../../../shared/gen/nexus/v1/lambda.js';

export interface Step {
  readonly code: string;
  readonly timeoutMs?: number;
  readonly memoryMb?: number;
}

export interface StepResult extends Pick<LambdaResult, 'reason' | 'exitCode' | 'executionTimeMs' | 'peakMemoryBytes'> {
  readonly stdout: string;
  readonly stderr: string;
}

export type Attack = AnyAttack<Step, StepResult>;

/** A program that finally reports whether it got through. */
export function attempt(name: string, tried: string, code: string): Attack {
  return { name, tried, steps: [{ code: PRELUDE + code }], judge: ([result]) => said(result) };
}

/** Reads the verdict from the last line of a program's output. */
export function said(result: StepResult | undefined): Verdict {
  return saidBy(result, result === undefined ? 'it did not run' : `${result.reason}, exit code ${result.exitCode}`);
}

/** A program that tries to exhaust a resource; the sandbox must end it, for this reason. */
export function bomb(
  name: string,
  tried: string,
  code: string,
  reason: string,
  limits: Omit<Step, 'code'> = {},
): Attack {
  return {
    name,
    tried,
    steps: [{ code: PRELUDE + code, ...limits }],
    judge: ([result]) => ({
      held: result?.reason === reason,
      by:
        result === undefined
          ? 'it did not run'
          : `ended: ${result.reason} after ${Math.round(result.executionTimeMs)} ms`,
    }),
  };
}
