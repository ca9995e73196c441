/**
 * Work in named steps: each is a failpoint, puts its inverses on an undo stack before it begins, and is timed. Slow
 * steps are logged. Steps of one group run at once.
 */
import type { Clock } from '../../../shared/async/clock.js';
import { failpoint } from '../../../shared/async/failpoint.js';
import { toNexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import type { UndoStack } from '../../../shared/async/undo.js';

export interface Step<State> {
  /** An imperative; the step's failpoint is `<list>/<name>`, reached when the step is done. */
  readonly name: string;
  do(state: State): Promise<void>;
  /** Inverses by name, in the order in which they run. Each is idempotent and runs even if others fail. */
  readonly undo?: Readonly<Record<string, (state: State) => Promise<void>>>;
}

/** In order; an element that is a list is a group. */
export type Steps<State> = readonly (Step<State> | readonly Step<State>[])[];

export const namesOf = <State>(steps: Steps<State>): readonly string[] => steps.flat().map(({ name }) => name);

export interface StepTime {
  readonly name: string;
  readonly ms: number;
}

/** Steps that take longer are logged; on an idle machine none takes a tenth of it. */
const SLOW_STEP_MS = 2000;

interface StepDeps {
  readonly undo: UndoStack;
  readonly clock: Clock;
  readonly log: Logger;
  /** Fields of the log line. */
  readonly about: Readonly<Record<string, string>>;
}

/**
 * Rejects with the error of the failed step, of a group once all of its steps have ended; the owner of the stack undoes
 * the others.
 */
export async function runSteps<State>(
  list: string,
  steps: Steps<State>,
  state: State,
  deps: StepDeps,
): Promise<readonly StepTime[]> {
  const times: StepTime[] = [];
  for (const step of steps) {
    const group = [step].flat();
    for (const { undo: inverses = {} } of group)
      for (const [inverse, undoIt] of Object.entries(inverses).reverse()) deps.undo.defer(inverse, () => undoIt(state));
    const ends = await Promise.allSettled(group.map((one) => runStep(list, one, state, deps)));
    for (const end of ends) {
      if (end.status === 'rejected') throw end.reason;
      times.push(end.value);
    }
  }
  return times;
}

async function runStep<State>(
  list: string,
  { name, do: run }: Step<State>,
  state: State,
  { clock, log, about }: StepDeps,
): Promise<StepTime> {
  const beganAt = clock.monotonic();
  try {
    await run(state);
  } catch (error) {
    const ms = Math.round(clock.monotonic() - beganAt);
    log.warn({ ...about, list, step: name, ms, code: toNexusError(error).code }, 'a step failed');
    throw error;
  }
  const ms = clock.monotonic() - beganAt;
  if (ms > SLOW_STEP_MS) log.warn({ ...about, list, step: name, ms: Math.round(ms) }, 'a step was slow');
  failpoint(`${list}/${name}`);
  return { name, ms };
}

/** `make-volume 41 ms, start-container 12 ms`, for an event. */
export const stepsInWords = (times: readonly StepTime[]): string =>
  times.map(({ name, ms }) => `${name} ${Math.round(ms)} ms`).join(', ');
