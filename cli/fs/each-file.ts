/**
 * A folder's files on their way in or out: each is tried, whatever becomes of the others, and a failure always names
 * its file. Nobody typed those names, so a refusal of one is never wrong usage, nor told in the command's words.
 */
import { NexusError } from '../../shared/errors.js';
import { SeveralErrors, throwInterrupt, tryEach, type Failure, type Outcome } from '../runner/several.js';

/** Small files wait for disks, not for this process; large ones fill the disks two at a time already. */
const FILES_AT_ONCE = 4;

/** As tryEach. `before` are failures of files that could not even be tried. */
export async function tryEachFile<Result>(
  names: readonly string[],
  act: (name: string) => Promise<Result>,
  before: readonly Failure[] = [],
): Promise<Outcome<Result>> {
  const { done, failures } = await tryEach(names, act, FILES_AT_ONCE);
  return { done, failures: [...before, ...failures.map(({ name, error }) => ({ name, error: asRefusal(error) }))] };
}

export function asRefusal(error: NexusError): NexusError {
  if (error.code !== 'invalid_argument') return error;
  const { problem } = error.details;
  const message = typeof problem === 'string' ? `its path ${problem}; rename it` : error.message;
  return new NexusError('failed_precondition', message, {}, { cause: error, advice: error.advice });
}

/** Throws what failed, if anything did; one failure alone is named as well. `left` says what an interrupt leaves. */
export function throwFileFailures(outcome: Outcome<unknown>, left: string): void {
  const { done, failures } = outcome;
  throwInterrupt(outcome, left);
  if (failures.length > 0) throw new SeveralErrors(failures, done.length + failures.length);
}
