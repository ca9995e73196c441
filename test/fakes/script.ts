/**
 * What the fakes beside the ports share: they write down what they are asked, and fail when a test tells them to.
 * Fakes that are given one script write into one list, so that a test sees the order of calls over several ports.
 */
import { NexusError } from '../../shared/errors.js';

interface Failure {
  left: number;
  readonly error: NexusError;
  readonly when: 'before' | 'after';
}

export class FakeScript {
  /** Oldest first: `runtime.create 0123456789ab`. */
  readonly calls: string[] = [];
  /** Sees each call before anything of it happens. */
  observe: (call: string) => void = () => undefined;
  readonly #failures = new Map<string, Failure>();

  /**
   * The next `count` calls of `name`, for example `runtime.create` or `runtime.create 0123456789ab`, fail with `error`: `before` they have any effect,
   * or `after` they had all of it, as a call does whose answer was lost.
   */
  failNext(
    name: string,
    count = 1,
    error = new NexusError('internal', `${name} was told to fail`),
    when: Failure['when'] = 'before',
  ): void {
    this.#failures.set(name, { left: count, error, when });
  }

  /** For the fakes: one call of the port. */
  async run<Result>(name: string, subject: string | number, work: () => Result | Promise<Result>): Promise<Result> {
    const call = `${name} ${subject}`.trimEnd();
    this.calls.push(call);
    this.observe(call);
    const failure = this.#takeFailure(call) ?? this.#takeFailure(name);
    if (failure?.when === 'before') throw failure.error;
    const result = await work();
    if (failure !== undefined) throw failure.error;
    return result;
  }

  #takeFailure(name: string): Failure | undefined {
    const failure = this.#failures.get(name);
    if (failure === undefined || failure.left === 0) return undefined;
    failure.left -= 1;
    return failure;
  }
}
