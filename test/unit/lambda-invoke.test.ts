/** Invocations on sandboxes in memory: places, the queue, the pool, limits, and nodes that go. */
import { expect } from 'chai';
import { Dispatcher, type DispatcherOptions } from '../../controller/lambda/dispatcher.js';
import { Invoker, type LambdaRequest, type LambdaResult } from '../../controller/lambda/invoke.js';
import type { LambdaNode } from '../../controller/lambda/plan.js';
import { WarmPool } from '../../controller/lambda/pool.js';
import { Residents } from '../../controller/lambda/residents.js';
import { MAX_RESULT_BYTES } from '../../controller/lambda/limits.js';
import { FakeSandboxes } from '../fakes/sandboxes.js';
import type { SandboxEnd } from '../../controller/lambda/sandbox/port.js';
import { LambdaStatistics } from '../../controller/lambda/statistics.js';
import { systemClock, type Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { createLogger } from '../../shared/log.js';
import { eventually } from '../support/cluster.js';
import { codeOf, errorOf } from '../support/codes.js';

const NODE = 'aaaaaaaaaaaa' as NodeId;
const never = new AbortController().signal;

class Bench {
  readonly sandboxes = new FakeSandboxes();
  readonly statistics = new LambdaStatistics();
  isOpen = true;
  usedBytes = 0;
  /** Ends every wait for a time at once. */
  readonly alarms = new Set<() => void>();
  readonly clock: Clock = {
    ...systemClock,
    sleep: (_ms, signal) =>
      new Promise((resolve, reject) => {
        this.alarms.add(resolve);
        signal?.addEventListener('abort', () => {
          this.alarms.delete(resolve);
          reject(new NexusError('cancelled', 'woken'));
        });
      }),
  };
  readonly residents = new Residents(this.sandboxes, () => this.isOpen, this.clock);
  readonly pool = new WarmPool({
    residents: this.residents,
    bounds: { least: 2, most: 4 },
    memoryBytes: 64 * MIB,
    clock: this.clock,
    log: createLogger('test', 'silent'),
  });
  readonly dispatcher: Dispatcher;
  readonly invoker: Invoker;

  constructor(limits: Partial<DispatcherOptions> = {}, outputBytes = 10) {
    this.dispatcher = new Dispatcher({
      clock: this.clock,
      nodes: () => [this.node()],
      concurrency: 4,
      userConcurrency: 2,
      queueLength: 2,
      queueTimeoutMs: 1000,
      ...limits,
    });
    this.invoker = new Invoker({
      residents: this.residents,
      dispatcher: this.dispatcher,
      pool: this.pool,
      statistics: this.statistics,
      outputBytes,
      clock: this.clock,
      refill: () => undefined,
    });
    this.sandboxes.programs.set(
      'wait',
      ({ killed }) => new Promise((resolve) => killed.addEventListener('abort', () => resolve(137))),
    );
    this.sandboxes.programs.set('flood', async ({ say }) => {
      say('stdout', '12345678');
      say('stderr', '12345678');
      return 0;
    });
  }

  node(): Omit<LambdaNode, 'running' | 'reservedBytes'> {
    const unfit = this.isOpen ? undefined : 'is Stopping';
    const memory = { memoryBytes: 256 * MIB, usedBytes: this.usedBytes };
    return { id: NODE, name: 'n', unfit, ...memory, warm: this.pool.ready(NODE) };
  }

  said = '';

  run(code: string, user = 'ann', signal = never): Promise<LambdaResult> {
    const request: LambdaRequest = {
      user,
      code,
      event: undefined,
      stdin: Buffer.alloc(0),
      files: [],
      memoryBytes: 64 * MIB,
      timeoutMs: 1000,
      node: undefined,
    };
    return this.invoker.run(
      request,
      (_stream, data) => {
        this.said += data.toString('utf8');
      },
      signal,
    );
  }

  fill(): Promise<void> {
    return this.pool.tick(this.dispatcher.snapshot(), never);
  }

  start(user: string, signal = never): { readonly result: Promise<LambdaResult> } {
    const result = this.run('wait', user, signal);
    result.catch(() => undefined);
    return { result };
  }

  runningIs(count: number): Promise<number> {
    return eventually(
      () => [...this.sandboxes.living].filter((one) => this.invoker.isRunning(one)).length,
      (seen) => seen === count,
    );
  }

  ring(): void {
    for (const alarm of [...this.alarms]) alarm();
  }
}

describe('an invocation', () => {
  it('takes a warm sandbox where there is one, and has one made where not', async () => {
    const bench = new Bench();
    await bench.fill();
    expect(bench.pool.ready()).to.equal(2);
    expect(await bench.run('x')).to.include({ reason: 'exit', exitCode: 0, node: 'n', warm: true });
    await bench.run('x');
    expect(await bench.run('x')).to.include({ warm: false });
    expect(bench.statistics).to.include({ poolHits: 2, poolMisses: 1 });
    expect(bench.statistics.latency.at(-1)?.count).to.equal(3);
  });

  it('is not given a warm sandbox that died while it waited', async () => {
    const bench = new Bench();
    await bench.fill();
    for (const sandbox of [...bench.sandboxes.living]) sandbox.die();
    await eventually(
      () => bench.pool.ready(),
      (ready) => ready === 0,
    );
    expect(await bench.run('x')).to.include({ reason: 'exit', warm: false });
  });

  it('is ended at its time limit, at its limit of output, and when its caller goes', async () => {
    const bench = new Bench();
    const late = bench.start('ann');
    await bench.runningIs(1);
    bench.ring();
    expect(await late.result, 'as the command exits').to.include({ reason: 'timeout', exitCode: 124 });
    expect(await bench.run('flood')).to.include({ reason: 'output_limit' });
    expect(bench.said, 'no more than the limit').to.equal('1234567812');
    const gone = new AbortController();
    const left = bench.start('ann', gone.signal);
    await bench.runningIs(1);
    gone.abort();
    expect(await left.result).to.include({ reason: 'cancelled' });
    expect(bench.sandboxes.living.size).to.equal(0);
    expect([...bench.statistics.invocations.values()]).to.deep.equal([0, 1, 0, 1, 1]);
  });

  /** What becomes of bytes on the stream for results, from code that ends with 0 itself. */
  const handBack = async (pieces: readonly string[], end: Partial<SandboxEnd> = {}, outputBytes = 100) => {
    const bench = new Bench({}, outputBytes);
    bench.sandboxes.programs.set('handler', async ({ say }) => {
      for (const piece of pieces) say('result', piece);
      return { exitCode: 0, ...end };
    });
    const { reason, exitCode, result } = await bench.run('handler');
    return { reason, exitCode, result, said: bench.said };
  };

  it('hands back what its handler returned, apart from what it printed and as it was written', async () => {
    const whole = { reason: 'exit', exitCode: 0, said: '' };
    expect(await handBack(['{"n": 1.0, ', '"m": 12345678901234567890', '}\n'])).to.deep.equal({
      ...whole,
      result: '{"n": 1.0, "m": 12345678901234567890}',
    });
    expect(await handBack([])).to.deep.equal({ ...whole, result: undefined });
    expect(await handBack(Array.from('"bytewise"\n'))).to.include({ result: '"bytewise"' });
    expect(await handBack(['12']), 'may be half of 123').to.deep.equal({ ...whole, result: undefined });
    expect(await handBack(['1\n'], { exitCode: 3 })).to.include({ exitCode: 3, result: '1' });
    expect(await handBack(['1\n'], { outOfMemory: 'limit' })).to.include({ exitCode: 137, result: undefined });
  });

  it('passes on nothing that is no one line of JSON, and fails for it', async () => {
    for (const [written, problem] of [
      ['1\n2\n', 'must be one line'],
      ['{"a":\n1}\n', 'must be one line'],
      ['NaN\n', 'must be JSON'],
      ['"}, "reason": "exit"\n', 'must be JSON'],
      ['\n', 'must be JSON'],
      [`${'['.repeat(201)}${']'.repeat(201)}\n`, 'must not be nested deeper than 200'],
    ] as const) {
      expect(await handBack([written], {}, 1000), written).to.deep.equal({
        reason: 'exit',
        exitCode: 1,
        result: undefined,
        said: `the value that handler returned can't be returned as JSON: ${problem}\n`,
      });
    }
  });

  it('is ended when it hands back more than its limit of output, or more than a message has room for', async () => {
    const ended = { reason: 'output_limit', exitCode: 137, result: undefined, said: '' };
    expect(await handBack(['"123', '456', '789"\n'], {}, 10)).to.deep.equal(ended);
    const much = `"${'x'.repeat(MAX_RESULT_BYTES)}"\n`;
    expect(await handBack([much], {}, 2 * MAX_RESULT_BYTES)).to.deep.equal(ended);
  });

  it('tells its own memory that ran out from an exit, whatever the code says at its end', async () => {
    const bench = new Bench();
    bench.sandboxes.programs.set('hog', async () => ({ exitCode: 137, outOfMemory: 'limit' }));
    bench.sandboxes.programs.set('survivor', async () => ({ exitCode: 0, outOfMemory: 'limit' }));
    expect(await bench.run('hog')).to.include({ reason: 'out_of_memory' });
    expect(await bench.run('survivor')).to.include({ reason: 'out_of_memory', exitCode: 137 });
  });

  it('is not blamed for the memory of its node, nor for the end of what it was forked from', async () => {
    const bench = new Bench();
    bench.sandboxes.programs.set('victim', async () => ({ exitCode: 137, outOfMemory: 'node' }));
    bench.sandboxes.programs.set('orphan', async () => ({ exitCode: 137, isLost: true }));
    const victim = await errorOf(() => bench.run('victim'));
    expect(victim.code).to.equal('unavailable');
    expect(victim.message).to.contain('node n ran out of memory');
    const orphan = await errorOf(() => bench.run('orphan'));
    expect(orphan.code).to.equal('unavailable');
    expect(orphan.message).to.contain('restarted').and.not.contain('went away');
    expect([...bench.statistics.invocations.values()], 'none of them counts').to.deep.equal([0, 0, 0, 0, 0]);
  });

  it('waits on a node that is full at the moment, and is told what it waited for', async () => {
    const bench = new Bench();
    bench.usedBytes = 250 * MIB;
    const late = errorOf(() => bench.run('x'));
    expect(bench.dispatcher.queueLength).to.equal(1);
    bench.ring();
    const { code, message, details } = await late;
    expect(code).to.equal('resource_exhausted');
    expect(message).to.contain('n has 6 MB free, 16 MB are needed');
    expect(details['retry_after_ms']).to.be.greaterThan(0);
    const soon = bench.run('x');
    bench.usedBytes = 0;
    bench.dispatcher.kick();
    expect(await soon).to.include({ reason: 'exit' });
  });

  it('waits while its user is at the limit, without keeping others waiting', async () => {
    const bench = new Bench();
    const gone = new AbortController();
    const first = [bench.start('ann', gone.signal), bench.start('ann', gone.signal)];
    await bench.runningIs(2);
    const third = bench.run('x', 'ann');
    expect(bench.dispatcher.queueLength).to.equal(1);
    expect(await bench.run('x', 'bob')).to.include({ reason: 'exit' });
    expect(bench.dispatcher.queueLength).to.equal(1);
    gone.abort();
    expect(await third).to.include({ reason: 'exit' });
    await Promise.all(first.map(({ result }) => result));
  });

  it('is refused beyond the queue and after too long a wait, with a time to come back', async () => {
    const bench = new Bench({ concurrency: 1 });
    const gone = new AbortController();
    const first = bench.start('ann', gone.signal);
    await bench.runningIs(1);
    const waiting = [bench.run('x', 'bob'), bench.run('x', 'cid')];
    const refused = await errorOf(() => bench.run('x', 'dan'));
    expect(refused.code).to.equal('resource_exhausted');
    expect(refused.details['retry_after_ms']).to.be.greaterThan(0);
    const outcomes = Promise.all(waiting.map((one) => codeOf(() => one)));
    bench.ring();
    expect(await outcomes).to.deep.equal(['resource_exhausted', 'resource_exhausted']);
    expect(bench.statistics.refused).to.equal(3);
    // The alarm has ended the first one, too.
    expect(await first.result).to.include({ reason: 'timeout' });
  });

  it('leaves the queue with its caller', async () => {
    const bench = new Bench({ concurrency: 1 });
    const first = bench.start('ann');
    await bench.runningIs(1);
    const gone = new AbortController();
    const waiting = codeOf(() => bench.run('x', 'bob', gone.signal));
    gone.abort();
    expect(await waiting).to.equal('cancelled');
    expect(bench.dispatcher.queueLength).to.equal(0);
    bench.ring();
    await first.result;
  });
});

describe('a node that goes', () => {
  it('takes its sandboxes along, and says so to those who wait for them', async () => {
    const bench = new Bench();
    await bench.fill();
    const running = bench.start('ann');
    await bench.runningIs(1);
    bench.isOpen = false;
    await bench.residents.leave(NODE, 0, (one) => bench.invoker.isRunning(one));
    expect(bench.sandboxes.living.size).to.equal(0);
    expect(await codeOf(() => running.result)).to.equal('unavailable');
    expect(await codeOf(() => bench.run('x'))).to.equal('failed_precondition');
  });

  it('waits for what runs as long as it was given', async () => {
    const bench = new Bench();
    let finish = (): void => undefined;
    bench.sandboxes.programs.set('slow', () => new Promise((resolve) => (finish = () => resolve(5))));
    const running = bench.run('slow');
    await bench.runningIs(1);
    bench.isOpen = false;
    const left = bench.residents.leave(NODE, 1000, (one) => bench.invoker.isRunning(one));
    finish();
    expect(await running).to.include({ reason: 'exit', exitCode: 5 });
    await left;
  });

  it('gets none that were being made meanwhile', async () => {
    const bench = new Bench();
    bench.sandboxes.script.observe = (call) => {
      if (call.startsWith('sandbox.create')) bench.isOpen = false;
    };
    expect(await codeOf(() => bench.residents.create(NODE, { memoryBytes: MIB }, never))).to.equal('unavailable');
    expect(bench.sandboxes.living.size).to.equal(0);
  });
});

describe('the warm pool', () => {
  it('pauses after a failure, and goes on later', async () => {
    const bench = new Bench();
    bench.sandboxes.script.failNext('sandbox.create', 2);
    await bench.fill();
    const calls = bench.sandboxes.script.calls.length;
    await bench.fill();
    expect(bench.sandboxes.script.calls.length, 'no further attempt').to.equal(calls);
    expect(await bench.run('x'), 'whoever needs one still gets it').to.include({ warm: false });
  });

  it('gives up what is too much when a node is no longer fit', async () => {
    const bench = new Bench();
    await bench.fill();
    bench.isOpen = false;
    await bench.fill();
    expect(bench.pool.ready()).to.equal(0);
    expect(bench.sandboxes.living.size).to.equal(0);
  });
});
