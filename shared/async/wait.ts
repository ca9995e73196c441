/**
 * Waits that end: with their result, when their time is up, or on abort, whichever comes first. However a wait ends,
 * none of its timers and listeners is left: a signal that lives as long as the process would collect one per call, which
 * is why `AbortSignal.any` is not used.
 */
import { once as nextOf, type EventEmitter } from 'node:events';
import { NexusError } from '../errors.js';
import { systemClock, type Clock } from './clock.js';
import { after, cancel } from './timers.js';

export interface Bounds {
  /** Rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Rejects with `late()` after so many ms. */
  readonly ms?: number | undefined;
  /** Default: `deadline_exceeded`. */
  readonly late?: (() => Error) | undefined;
}

export interface Deferred<Result> {
  readonly promise: Promise<Result>;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** A promise that is settled from outside. (`Promise.withResolvers` came with Node 22.) */
export function deferred<Result = void>(): Deferred<Result> {
  let ends: Omit<Deferred<Result>, 'promise'> | undefined;
  const promise = new Promise<Result>((resolve, reject) => {
    ends = { resolve, reject };
  });
  return { promise, ...(ends as unknown as Omit<Deferred<Result>, 'promise'>) };
}

/** Calls `listener` on abort, or now if the signal is aborted already; never after it is disposed. */
export function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): Disposable {
  const call = (): void => {
    listener(signal?.reason);
  };
  if (signal?.aborted === true) call();
  else signal?.addEventListener('abort', call, { once: true });
  return {
    [Symbol.dispose]: () => {
      signal?.removeEventListener('abort', call);
    },
  };
}

/**
 * Result of something that reports by callbacks. `start` receives them, and returns how to stop listening. That is called
 * once, as soon as the wait ends: nothing that comes later in the same turn is taken. On a signal that is aborted
 * already, `start` is not called.
 */
export function outcome<Result = void>(
  start: (resolve: (result: Result) => void, reject: (error: unknown) => void) => (() => void) | undefined,
  { signal, ms, late = () => tooLate(ms ?? 0) }: Bounds = {},
): Promise<Result> {
  const { promise, resolve, reject } = deferred<Result>();
  const over = { is: false };
  const ends: (() => void)[] = [];
  const settle = (report: () => void): void => {
    if (over.is) return;
    over.is = true;
    for (const end of ends) end();
    report();
  };
  const fail = (error: unknown): void => settle(() => reject(error));
  if (signal?.aborted === true) {
    fail(signal.reason);
    return promise;
  }
  const gone = onAbort(signal, fail);
  const timer = ms === undefined ? undefined : after(ms, () => fail(late()));
  ends.push(() => {
    gone[Symbol.dispose]();
    cancel(timer);
  });
  try {
    const stop = start((result) => settle(() => resolve(result)), fail) ?? (() => undefined);
    // It may have been settled within `start`, before that could return how to stop.
    if (over.is) stop();
    else ends.push(stop);
  } catch (error) {
    fail(error);
  }
  return promise;
}

/**
 * Bounds the wait for `work`, whose signal is aborted when the wait ends first. What `work` does after that is not waited
 * for. Codes: deadline_exceeded (or what `late` returns), the signal's reason, those of `work`.
 */
export async function within<Result>(
  ms: number,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
  late?: () => Error,
): Promise<Result> {
  const over = new AbortController();
  const begin = async (): Promise<Result> => await work(over.signal);
  try {
    return await outcome<Result>(
      (resolve, reject) => {
        begin().then(resolve, reject);
        return undefined;
      },
      { ms, signal, late },
    );
  } catch (error) {
    over.abort(error);
    throw error;
  }
}

const tooLate = (ms: number): NexusError =>
  new NexusError('deadline_exceeded', `there was no result within ${ms} ms; is this machine overloaded?`);

/** Whether `work` ends, well or badly, in time and before an abort. Never rejects. */
export async function endsWithin(ms: number, work: Promise<unknown>, signal?: AbortSignal): Promise<boolean> {
  let hasEnded = false;
  const note = (): void => {
    hasEnded = true;
  };
  const noted = work.then(note, note);
  await within(ms, signal, () => noted).catch(() => undefined);
  return hasEnded;
}

/** The arguments of the emitter's next event. Rejects with its 'error' event, and with the signal's reason. */
export async function once(emitter: EventEmitter, event: string, signal?: AbortSignal): Promise<unknown[]> {
  try {
    return (await nextOf(emitter, event, signal === undefined ? {} : { signal })) as unknown[];
  } catch (error) {
    // Node rejects with an AbortError of its own.
    throw signal?.aborted === true ? signal.reason : error;
  }
}

/**
 * Calls `check` every `everyMs` until it returns true; false when the time is up. The last call begins after that, so
 * that a process that was stopped meanwhile does not give up unasked.
 */
export async function until(
  check: () => boolean | Promise<boolean>,
  bounds: {
    readonly everyMs: number;
    readonly withinMs: number;
    readonly signal?: AbortSignal;
    readonly clock?: Clock;
  },
): Promise<boolean> {
  const { everyMs, withinMs, signal, clock = systemClock } = bounds;
  const deadline = clock.monotonic() + withinMs;
  for (;;) {
    const isLast = clock.monotonic() >= deadline;
    if (await check()) return true;
    if (isLast) return false;
    await clock.sleep(everyMs, signal);
  }
}
