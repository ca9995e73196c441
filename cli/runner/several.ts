/**
 * Runs commands that take several names: each is tried, whatever happens to the rest, and every failure is reported.
 * Results are printed before failures are thrown.
 */
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Context } from './context.js';

export interface Failure {
  readonly name: string;
  readonly error: NexusError;
}

/** The error line of one of several: prefixed with its name, unless the message has a path that ends with it. */
export const namedError = ({ name, error }: Failure): NexusError =>
  name === '' || error.message.includes(`/${name}: `) ? error : error.during(name);

/** Failures that have to be named, in the order in which the names were typed; the first one determines the code. */
export class SeveralErrors extends NexusError {
  constructor(
    readonly failures: readonly Failure[],
    private readonly triedCount: number,
  ) {
    super(failures[0]?.error.code ?? 'internal', `${failures.length} of ${triedCount} failed`);
  }

  map(change: (error: NexusError) => NexusError): SeveralErrors {
    const failures = this.failures.map(({ name, error }) => ({ name, error: change(error) }));
    return new SeveralErrors(failures, this.triedCount);
  }
}

/** Enough to keep the controller busy; it bounds its own work too. */
const IN_FLIGHT = 16;

export interface Outcome<Result> {
  readonly done: readonly Result[];
  readonly failures: readonly Failure[];
}

/** Runs at most `inFlight` at a time; never rejects. Both lists keep the order of `names`. */
export async function tryEach<Result>(
  names: readonly string[],
  act: (name: string) => Promise<Result>,
  inFlight = IN_FLIGHT,
): Promise<Outcome<Result>> {
  const results: PromiseSettledResult<Result>[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let at = next++; at < names.length; at = next++) {
      const [result] = await Promise.allSettled([act(names[at] ?? '')]);
      results[at] = result;
    }
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, names.length) }, work));
  return {
    done: results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])),
    failures: results.flatMap((result, at) =>
      result.status === 'rejected' ? [{ name: names[at] ?? '', error: toNexusError(result.reason) }] : [],
    ),
  };
}

/**
 * Acts on one name or several, prints results and throws failures. For one name the result is the thing itself, as
 * scripts rely on; for several it is a list. A name that is typed twice is acted on once.
 */
export async function onEach<Result>(
  context: Context,
  names: readonly string[],
  act: (name: string) => Promise<Result>,
  show: {
    readonly shape: (result: Result) => object;
    readonly text: (result: Result) => string;
    readonly between?: string;
  },
  given: { readonly inFlight?: number; readonly afterInterrupt?: string } = {},
): Promise<number> {
  const outcome = await tryEach([...new Set(names)], act, given.inFlight);
  const [first] = outcome.done;
  const isOne = names.length === 1;
  if (!isOne || first !== undefined)
    await context.print(isOne && first !== undefined ? show.shape(first) : outcome.done.map(show.shape), () =>
      outcome.done.map(show.text).join(show.between ?? '\n'),
    );
  if (given.afterInterrupt !== undefined) throwInterrupt(outcome, isOne ? '' : given.afterInterrupt);
  throwFailures(outcome);
  return 0;
}

/** State after an interrupt: a call that was cut off may have had its effect or not. */
const DONE_OR_NOT = 'those that were running may be done or not; the rest are not';

/** Throws the failures, if there are any: one error unchanged, several as SeveralErrors. */
export function throwFailures(outcome: Outcome<unknown>): void {
  const { done, failures } = outcome;
  const [first, second] = failures;
  throwInterrupt(outcome, done.length + failures.length === 1 ? '' : DONE_OR_NOT);
  if (first === undefined) return;
  if (second === undefined) throw first.error;
  throw new SeveralErrors(failures, done.length + failures.length);
}

/**
 * An interrupt is reported once, however many calls it cut off, with the numbers of results and of earlier failures.
 * With an empty `state` (a single thing) only the interrupt itself is thrown.
 */
export function throwInterrupt({ done, failures }: Outcome<unknown>, state: string): void {
  const interrupt = failures.find(({ error }) => error.code === 'cancelled')?.error;
  if (interrupt === undefined) return;
  if (state === '') throw interrupt;
  const before = failures.filter(({ error }) => error.code !== 'cancelled');
  const total = done.length + failures.length;
  const failed = before.length === 0 ? '' : `, ${before.length} failed`;
  const error = new NexusError('cancelled', `interrupted: ${done.length} of ${total} are done${failed}; ${state}`, {
    done: done.length,
    failed: before.length,
    total,
  });
  if (before.length === 0) throw error;
  throw new SeveralErrors([...before, { name: '', error }], total);
}
