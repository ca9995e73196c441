/**
 * Work in named steps: each is a failpoint, puts its inverses on an undo stack before it begins, and is timed. Slow
 * steps are logged.
 */
import type { Clock } from '../../../shared/async/clock.js';
import { failpoint } from '../../../shared/async/failpoint.js';
import type { Logger } from '../../../shared/log.js';
import type { UndoStack } from '../../../shared/async/undo.js';

export interface Step<State> {
  /** An imperative; the step's failpoint is `<list>/<name>`, reached when the step is done. */
  readonly name: string;
  do(state: State): Promise<void>;
  /** Inverses by name, in the order in which they run. Each is idempotent and runs even if others fail. */
  readonly undo?: Readonly<Record<string, (state: State) => Promise<void>>>;
}

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

/** Rejects with the error of the failed step; the owner of the stack undoes the others. */
export async function runSteps<State>(
  list: string,
  steps: readonly Step<State>[],
  state: State,
  { undo, clock, log, about }: StepDeps,
): Promise<readonly StepTime[]> {
  const times: StepTime[] = [];
  for (const { name, do: run, undo: inverses = {} } of steps) {
    for (const [inverse, undoIt] of Object.entries(inverses).reverse()) undo.defer(inverse, () => undoIt(state));
    const beganAt = clock.monotonic();
    await run(state);
    const ms = clock.monotonic() - beganAt;
    times.push({ name, ms });
    if (ms > SLOW_STEP_MS) log.warn({ ...about, list, step: name, ms: Math.round(ms) }, 'a step was slow');
    failpoint(`${list}/${name}`);
  }
  return times;
}

/** `make-volume 41 ms, start-container 12 ms`, for an event. */
export const stepsInWords = (times: readonly StepTime[]): string =>
  times.map(({ name, ms }) => `${name} ${Math.round(ms)} ms`).join(', ');
