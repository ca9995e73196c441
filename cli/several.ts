/**
 * Verbs that take several names: each is tried, whatever becomes of the others, and every failure is told. What was
 * done is printed before the failures are thrown.
 */
import { NexusError, toNexusError } from '../shared/errors.js';

export interface Failure {
  readonly name: string;
  readonly error: NexusError;
}

/** Failures that have to be named, in the order in which the names were typed; the first one's code counts. */
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

/** At most `inFlight` at a time; never rejects. Both lists keep the order of `names`. */
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

/** Throws what failed, if anything did: one error as it is, several as SeveralErrors. */
export function throwFailures({ done, failures }: Outcome<unknown>): void {
  const [first, second] = failures;
  // An interrupt is one event, however many calls it cut off.
  const interrupted = failures.find(({ error }) => error.code === 'cancelled');
  if (interrupted !== undefined) throw interrupted.error;
  if (first === undefined) return;
  if (second === undefined) throw first.error;
  throw new SeveralErrors(failures, done.length + failures.length);
}
