/** The async toolbox: whatever ends a wait, its result is the right one, and neither timers nor listeners are left. */
import { EventEmitter, getEventListeners } from 'node:events';
import { expect } from 'chai';
import { Bell } from '../../shared/async/bell.js';
import { inStep, type Clock } from '../../shared/async/clock.js';
import { untilNextBeat } from '../../controller/host/loop.js';
import { after, cancel, every, sleep } from '../../shared/async/timers.js';
import { KeyedMutex, Limit, Turns } from '../../shared/async/turns.js';
import { deferred, endsWithin, onAbort, once, outcome, until, within } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { codeOf } from '../support/codes.js';

/** Longer than any test: what waits for it must be ended by something else. */
const LONG_MS = 600_000;

const reason = new NexusError('aborted', 'the test says so');
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** Read only after a tick: mocha begins to time a test once its function has returned. */
const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
const listenersOf = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;
const pending = <Result>(): Promise<Result> => new Promise(() => undefined);

/** Each kind of wait, which nothing but its signal ends. */
const WAITS: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
  sleep: (signal) => sleep(LONG_MS, signal),
  outcome: (signal) => outcome(() => undefined, { signal, ms: LONG_MS }),
  within: (signal) => within(LONG_MS, signal, () => pending()),
  once: (signal) => once(new EventEmitter(), 'never', signal),
  until: (signal) => until(() => false, { everyMs: LONG_MS, withinMs: LONG_MS, signal }),
};

describe('a wait of the async toolbox', () => {
  for (const [name, wait] of Object.entries(WAITS)) {
    it(`${name} rejects with the reason of its signal, aborted before or meanwhile, and leaves nothing`, async () => {
      await tick();
      const before = timers();
      expect(await wait(AbortSignal.abort(reason)).catch((error: unknown) => error)).to.equal(reason);
      const ended = new AbortController();
      const waiting = wait(ended.signal).catch((error: unknown) => error);
      await tick();
      expect(listenersOf(ended.signal)).to.equal(1);
      ended.abort(reason);
      expect(await waiting).to.equal(reason);
      expect(listenersOf(ended.signal)).to.equal(0);
      expect(timers()).to.equal(before);
    });
  }

  it('that ends well leaves neither timer nor listener, and an abort afterwards changes nothing', async () => {
    await tick();
    const before = timers();
    const { signal } = new AbortController();
    const emitter = new EventEmitter();
    setImmediate(() => emitter.emit('event', 1, 2));
    expect(await once(emitter, 'event', signal)).to.deep.equal([1, 2]);
    expect(emitter.eventNames()).to.deep.equal([]);
    await sleep(1, signal);
    let stops = 0;
    const result = await outcome<number>(
      (resolve) => {
        setImmediate(() => resolve(7));
        return () => (stops += 1);
      },
      { signal, ms: LONG_MS },
    );
    expect(await within(LONG_MS, signal, () => Promise.resolve('done'))).to.equal('done');
    expect(await endsWithin(LONG_MS, Promise.reject(new Error('badly')), signal)).to.equal(true);
    expect([result, stops, listenersOf(signal), timers()]).to.deep.equal([7, 1, 0, before]);
  });
});

describe('outcome', () => {
  it('does not start on an aborted signal, and stops listening once, also when it is settled at once', async () => {
    const calls: string[] = [];
    const start = (resolve: (result: string) => void): (() => void) => {
      calls.push('start');
      resolve('at once');
      return () => calls.push('stop');
    };
    expect(await codeOf(() => outcome(start, { signal: AbortSignal.abort(reason) }))).to.equal('aborted');
    expect(calls).to.deep.equal([]);
    expect(await outcome(start)).to.equal('at once');
    expect(calls).to.deep.equal(['start', 'stop']);
  });

  it('stops listening within the call that settles it, and passes on what starting throws', async () => {
    const seen: string[] = [];
    const emitter = new EventEmitter();
    const result = outcome<string>((resolve) => {
      const take = (what: string): void => {
        seen.push(what);
        resolve(what);
      };
      emitter.on('event', take);
      return () => emitter.off('event', take);
    });
    emitter.emit('event', 'first');
    emitter.emit('event', 'second');
    expect([await result, ...seen]).to.deep.equal(['first', 'first']);
    const throws = (): never => {
      throw reason;
    };
    expect(await codeOf(() => outcome(throws, { ms: LONG_MS }))).to.equal('aborted');
  });

  it('stops listening when the time is up, and rejects with the error that is wanted', async () => {
    let stops = 0;
    const start = (): (() => void) => () => (stops += 1);
    expect(await codeOf(() => outcome(start, { ms: 1 }))).to.equal('deadline_exceeded');
    expect(await codeOf(() => outcome(start, { ms: 1, late: () => reason }))).to.equal('aborted');
    expect(stops).to.equal(2);
  });
});

describe('within', () => {
  it('aborts the work when its time is up, with the error that the caller gets', async () => {
    const seen: unknown[] = [];
    const work = async (signal: AbortSignal): Promise<void> => {
      signal.addEventListener('abort', () => seen.push((signal.reason as NexusError).code));
      await pending();
    };
    expect(await codeOf(() => within(1, undefined, work))).to.equal('deadline_exceeded');
    expect(seen).to.deep.equal(['deadline_exceeded']);
  });

  it('passes on what the work throws, and takes no notice of what it throws too late', async () => {
    expect(await codeOf(() => within(LONG_MS, undefined, () => Promise.reject(reason)))).to.equal('aborted');
    const late = deferred();
    expect(await codeOf(() => within(1, undefined, () => late.promise))).to.equal('deadline_exceeded');
    // Would end the test run as an unhandled rejection.
    late.reject(new Error('too late'));
    await tick();
  });
});

describe('endsWithin', () => {
  it('is false when the time is up or the signal aborted', async () => {
    expect(await endsWithin(1, pending())).to.equal(false);
    expect(await endsWithin(LONG_MS, pending(), AbortSignal.abort())).to.equal(false);
  });
});

describe('until', () => {
  it('asks once more after its time, and reports how it ended', async () => {
    let now = 0;
    const clock: Clock = {
      now: () => now,
      monotonic: () => now,
      sleep: async (ms) => {
        now += ms;
      },
    };
    const bounds = { everyMs: 10, withinMs: 30, clock };
    let asked = 0;
    expect(await until(() => (asked += 1) === 5, bounds)).to.equal(false);
    expect([asked, now]).to.deep.equal([4, 30]);
    asked = 0;
    now = 0;
    expect(await until(() => Promise.resolve((asked += 1) === 4), bounds)).to.equal(true);
    // The process was stopped for longer than the wait may take.
    asked = 0;
    const jump = { ...clock, sleep: async () => void (now += LONG_MS) };
    expect(await until(() => (asked += 1) === 2, { ...bounds, clock: jump })).to.equal(true);
  });
});

describe('onAbort', () => {
  it('calls at once on an aborted signal, once on a later abort, and never after it is disposed', () => {
    const seen: unknown[] = [];
    onAbort(AbortSignal.abort(reason), (why) => seen.push(why));
    expect(seen).to.deep.equal([reason]);
    const ended = new AbortController();
    onAbort(ended.signal, () => seen.push('kept'));
    onAbort(ended.signal, () => seen.push('disposed'))[Symbol.dispose]();
    onAbort(undefined, () => seen.push('no signal'))[Symbol.dispose]();
    ended.abort();
    expect(seen).to.deep.equal([reason, 'kept']);
  });
});

describe('after and every', () => {
  it('end with their scope', () => {
    const before = timers();
    {
      using _once = after(LONG_MS, () => undefined);
      using _often = every(LONG_MS, () => undefined);
      expect(timers()).to.equal(before + 2);
    }
    cancel(after(LONG_MS, () => undefined));
    cancel(undefined);
    expect(timers()).to.equal(before);
  });
});

describe('a bell', () => {
  it('wakes all who wait, and keeps a ring that nobody waited for, once', async () => {
    const bell = new Bell();
    const waiting = [bell.wait(), bell.wait({ ms: LONG_MS })];
    bell.ring();
    expect(await Promise.all(waiting)).to.deep.equal([true, true]);
    bell.ring();
    bell.ring();
    expect(await bell.wait()).to.equal(true);
    expect(await bell.wait({ ms: 1 })).to.equal(false);
  });

  it('is left on abort and after its time, without a trace', async () => {
    await tick();
    const before = timers();
    const bell = new Bell();
    expect(await bell.wait({ signal: AbortSignal.abort() })).to.equal(false);
    const ended = new AbortController();
    const waiting = [bell.wait({ signal: ended.signal }), bell.wait({ signal: ended.signal, ms: LONG_MS })];
    await tick();
    ended.abort();
    expect(await Promise.all(waiting)).to.deep.equal([false, false]);
    expect([listenersOf(ended.signal), timers()]).to.deep.equal([0, before]);
  });
});

describe('turns', () => {
  const never = new AbortController().signal;

  it('let so many run at once, the others in their order, and refuse beyond that', async () => {
    const turns = new Turns({ atOnce: 2, mostWaiting: 2 });
    const ends: (() => void)[] = [];
    const begun: number[] = [];
    const take = (number: number): Promise<void> =>
      turns.take('ann', never, () => {
        begun.push(number);
        return new Promise((resolve) => ends.push(resolve));
      });
    const running = [take(1), take(2), take(3), take(4)];
    await Promise.resolve();
    expect(begun).to.deep.equal([1, 2]);
    expect(await codeOf(() => take(5))).to.equal('unavailable');
    ends[0]?.();
    await running[0];
    await new Promise(setImmediate);
    expect(begun).to.deep.equal([1, 2, 3]);
    for (let at = 1; at < 4; at += 1) {
      ends[at]?.();
      await running[at];
      await new Promise(setImmediate);
    }
    expect(begun).to.deep.equal([1, 2, 3, 4]);
  });

  it('go round the keys, and none has all the places', async () => {
    const turns = new Turns({ atOnce: 4, perKey: 3 });
    const begun: string[] = [];
    const ends: (() => void)[] = [];
    const take = (user: string): Promise<void> =>
      turns.take(user, never, () => {
        begun.push(user);
        return new Promise((resolve) => ends.push(resolve));
      });
    const running = [take('ann'), take('ann'), take('ann'), take('ann'), take('ann')];
    await Promise.resolve();
    expect(begun).to.deep.equal(['ann', 'ann', 'ann']);
    running.push(take('bob'), take('bob'), take('bob'));
    await Promise.resolve();
    // Bob has the place that Ann may not have, and then every other one.
    expect(begun.slice(3)).to.deep.equal(['bob']);
    for (let at = 0; at < running.length; at += 1) {
      ends[at]?.();
      await new Promise(setImmediate);
    }
    await Promise.all(running);
    expect(begun.slice(4)).to.deep.equal(['ann', 'bob', 'ann', 'bob']);
  });

  it('are given up by who goes away, and lost by nobody', async () => {
    const turns = new Turns({ atOnce: 1 });
    let end = (): void => undefined;
    const first = turns.take('ann', never, () => new Promise<void>((resolve) => (end = resolve)));
    const gone = new AbortController();
    const second = codeOf(() => turns.take('ann', gone.signal, () => Promise.resolve()));
    const third = turns.take('ann', never, () => Promise.resolve('third'));
    gone.abort();
    expect(await second).to.equal('cancelled');
    end();
    await first;
    expect(await third).to.equal('third');
    expect(await codeOf(() => turns.take('ann', never, () => Promise.reject(new Error('x'))))).to.equal('Error: x');
    expect(await turns.take('ann', never, () => Promise.resolve('after'))).to.equal('after');
  });

  it('that are entered last until they are disposed of, which counts once', async () => {
    const turns = new Turns({ atOnce: 1 });
    const first = await turns.enter('ann', never);
    let isBusy = false;
    const second = turns.enter('ann', never).then((turn) => {
      isBusy = true;
      return turn;
    });
    const third = turns.take('ann', never, () => Promise.resolve(isBusy));
    await new Promise(setImmediate);
    expect(isBusy).to.equal(false);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    (await second)[Symbol.dispose]();
    expect(await third).to.equal(true);
    expect(turns.isBusy('ann')).to.equal(false);
  });
});

describe('a keyed mutex', () => {
  it('keeps the order within a key, does not hold up other keys, and forgets those without work', async () => {
    const mutex = new KeyedMutex<string>();
    const first = deferred();
    const seen: string[] = [];
    const running = [
      mutex.run('a', async () => {
        await first.promise;
        seen.push('a1');
        throw reason;
      }),
      mutex.run('a', async () => seen.push('a2')),
      mutex.run('b', async () => seen.push('b1')),
    ];
    const settled = Promise.allSettled(running);
    await tick();
    expect(seen).to.deep.equal(['b1']);
    expect([mutex.isLocked('a'), mutex.isLocked('b')]).to.deep.equal([true, false]);
    first.resolve();
    expect((await settled).map(({ status }) => status)).to.deep.equal(['rejected', 'fulfilled', 'fulfilled']);
    expect(seen).to.deep.equal(['b1', 'a1', 'a2']);
    expect(mutex.isLocked('a')).to.equal(false);
  });
});

describe('a limit', () => {
  it('refuses beyond its bound with the error that is wanted', async () => {
    const limit = new Limit(1, { mostWaiting: 1, tooMany: () => new NexusError('resource_exhausted', 'full') });
    const first = deferred();
    const running = [limit.run(() => first.promise), limit.run(() => Promise.resolve())];
    expect(await codeOf(() => limit.run(() => Promise.resolve()))).to.equal('resource_exhausted');
    first.resolve();
    await Promise.all(running);
    expect(await limit.run(() => Promise.resolve('free again'))).to.equal('free again');
  });
});

describe('work in step', () => {
  it('is done once at each multiple of the period, with its number, and not after it is disposed of', async () => {
    const counts: number[] = [];
    const phases: number[] = [];
    const enough = deferred();
    const work = inStep(20, 5, (count) => {
      counts.push(count);
      phases.push(Date.now() - 5 - count * 20);
      if (counts.length === 5) enough.resolve();
    });
    await enough.promise;
    work[Symbol.dispose]();
    await sleep(60);
    expect(counts).to.have.length(5);
    expect(new Set(counts).size).to.equal(5);
    for (const [index, count] of counts.slice(1).entries()) expect(count).to.be.greaterThan(counts[index] ?? NaN);
    // A moment early at most; late is the machine's affair, and counted as the multiple that is nearest.
    for (const phase of phases) expect(phase).to.be.greaterThan(-11);
  });

  it('begins at the next multiple of a loop’s period that is at least half of one away', () => {
    expect(untilNextBeat(10_000, 500)).to.equal(500);
    expect(untilNextBeat(10_100, 500)).to.equal(400);
    expect(untilNextBeat(10_250, 500)).to.equal(250);
    expect(untilNextBeat(10_499.5, 500)).to.equal(500.5);
    expect(untilNextBeat(10_251, 500)).to.equal(749);
  });
});
