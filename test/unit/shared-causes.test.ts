/** What all nodes depend on is named once when it is away, nobody else is blamed for it, and what waited goes on. */
import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { SharedCauses } from '../../controller/cause/shared-causes.js';
import { EventLog } from '../../controller/events/log.js';
import { NodeMender } from '../../controller/node/watch/mend.js';
import { NodeService } from '../../controller/node/service.js';
import { NodeWatch } from '../../controller/node/watch/watch.js';
import { FakeStore } from '../fakes/store.js';
import { FakeBus } from '../fakes/agent-bus.js';
import { FakeNetwork } from '../fakes/network.js';
import { systemClock } from '../../shared/async/clock.js';
import { createLogger } from '../../shared/log.js';
import { codeOf, errorOf } from '../support/codes.js';
import { NODE_REQUEST, NodeBench } from '../support/nodes.js';

const log = createLogger('test', 'silent');
const never = new AbortController().signal;

class CauseBench {
  nowMs = 1_000_000;
  readonly bus = new FakeBus();
  readonly network = new FakeNetwork('10.0.0.1');
  readonly store = new FakeStore();
  forgiven = 0;
  readonly causes: SharedCauses;

  constructor() {
    const clock = { ...systemClock, now: () => this.nowMs, monotonic: () => this.nowMs };
    this.causes = new SharedCauses({
      bus: this.bus,
      network: this.network,
      events: new EventLog(this.store.events, clock, log, inCommandWords),
      clock,
      log,
      forgive: () => {
        this.forgiven += 1;
      },
    });
  }

  static async open(): Promise<CauseBench> {
    const bench = new CauseBench();
    await bench.network.prepare();
    const nobody = {
      heartbeat: () => undefined,
      report: () => undefined,
      disconnected: () => undefined,
      garbled: () => undefined,
    };
    await bench.bus.start({ ...nobody, available: () => undefined });
    return bench;
  }

  /** Looks twice a second, as the daemon does. */
  async pass(ms: number): Promise<void> {
    for (const until = this.nowMs + ms; this.nowMs < until; this.nowMs += 500) await this.causes.lookAtBus();
  }

  async told(): Promise<string[]> {
    return (await this.store.events.list(0)).map(({ type }) => type);
  }
}

describe('a shared cause', () => {
  let bench: CauseBench;
  beforeEach(async () => {
    bench = await CauseBench.open();
  });
  afterEach(async () => {
    await bench.store.close();
  });

  it('is none while all is well', async () => {
    await bench.pass(5000);
    expect([bench.causes.current, bench.causes.silenceCounts, bench.causes.isUp('bus')]).to.deep.equal([
      undefined,
      true,
      true,
    ]);
    bench.causes.assertServed();
    expect(await bench.told()).to.deep.equal([]);
  });

  it('keeps the silence of agents from counting at once, and is named only when it lasts', async () => {
    bench.bus.passesMessages = false;
    await bench.pass(1000);
    expect([bench.causes.silenceCounts, bench.causes.current]).to.deep.equal([false, undefined]);
    await bench.pass(3000);
    expect(bench.causes.current?.problem).to.equal('the bus does not answer');
    const refused = await errorOf(() => Promise.resolve().then(() => bench.causes.assertServed()));
    expect([refused.code, refused.message]).to.deep.equal([
      'unavailable',
      `the bus does not answer; ${bench.causes.current?.remedy ?? ''}; try again when it is back`,
    ]);
    bench.bus.passesMessages = true;
    await bench.pass(500);
    expect([bench.causes.silenceCounts, bench.causes.current]).to.deep.equal([true, undefined]);
    expect(bench.forgiven, 'silence forgiven').to.be.greaterThan(0);
    expect(await bench.told()).to.deep.equal(['bus.down', 'bus.up']);
  });

  it('is mended by another server where ours hangs for long, again and again', async () => {
    bench.bus.passesMessages = false;
    await bench.pass(9500);
    expect(bench.bus.replacements).to.equal(0);
    await bench.pass(2000);
    expect(bench.bus.replacements).to.equal(1);
    await bench.pass(10_500);
    expect(bench.bus.replacements).to.equal(2);
  });

  it('of the network is restored, and explains a bus that is not heard', async () => {
    bench.network.script.failNext('network.prepare', 100);
    bench.network.isPrepared = false;
    bench.bus.passesMessages = false;
    await bench.causes.lookAtNetwork([]);
    await bench.pass(15_000);
    expect(bench.causes.current?.kind).to.equal('network');
    expect(bench.causes.current?.remedy).to.match(/cannot be restored: .*told to fail/);
    expect(bench.bus.replacements, 'a server that cannot be reached is no better for being new').to.equal(0);
    bench.network.script.failNext('network.prepare', 0);
    expect(await bench.causes.lookAtNetwork([0, 1])).to.deep.equal([0, 1]);
    expect(bench.causes.isUp('network')).to.equal(true);
    expect(await bench.told()).to.deep.equal(['network.down', 'network.up']);
  });

  it('is not restored, nor made again, once the cluster removes the network itself', async () => {
    const looks = [bench.causes.lookAtNetwork([]), bench.causes.letNetworkGo()];
    await Promise.all(looks);
    await bench.network.destroy();
    await bench.causes.lookAtNetwork([]);
    await bench.causes.explain(bench.nowMs);
    expect([bench.network.isPrepared, await bench.told()]).to.deep.equal([false, []]);
  });
});

describe('nodes, while what they all need is away', () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = await NodeBench.open();
  });
  afterEach(async () => {
    await bench.dispose();
  });
  const statusOf = (id: string): string => bench.context.registry.resolve(id).status;
  const named = (): Promise<unknown> => bench.context.causes.lookAtNetwork([]);

  it('are not taken down by a restart, and neither made nor started', async () => {
    const { id } = await bench.service.create(NODE_REQUEST, never);
    const stopped = await bench.service.create({ ...NODE_REQUEST, name: 'other' }, never).catch(() => undefined);
    bench.network.script.failNext('network.prepare', 100);
    bench.network.isPrepared = false;
    await named();
    const calls = bench.script.calls.length;
    expect(await codeOf(() => bench.service.restart(id, never))).to.equal('unavailable');
    expect(await codeOf(() => bench.service.create({ ...NODE_REQUEST, name: 'new' }, never))).to.equal('unavailable');
    expect(statusOf(id)).to.equal('Running');
    expect(bench.script.calls.slice(calls)).to.deep.equal([]);
    expect(stopped === undefined || stopped.status === 'Running').to.equal(true);
  });

  it('are not called silent', async () => {
    const { id } = await bench.service.create(NODE_REQUEST, never);
    // A clock that is a minute ahead of the one by which the agent was heard.
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + 60_000 };
    const watch = new NodeWatch(new NodeService({ ...bench.context, clock }));
    bench.bus.passesMessages = false;
    await bench.context.causes.lookAtBus();
    await watch.tick();
    expect(statusOf(id), 'while the bus is deaf').to.equal('Running');
    bench.bus.passesMessages = true;
    await bench.context.causes.lookAtBus();
    await watch.tick();
    expect(statusOf(id), 'once it hears').to.equal('Lost');
  });

  it('wait where their start fails for it, and start by themselves when it is back', async () => {
    const { id } = await bench.service.create(NODE_REQUEST, never);
    await bench.service.stop(id, 100);
    // It vanishes in the middle: nobody has seen it before the start fails.
    bench.script.observe = (call) => {
      if (call.startsWith('network.attach')) bench.network.isPrepared = false;
    };
    const refused = await errorOf(() => bench.service.start(id, never));
    bench.script.observe = () => undefined;
    expect(refused.code).to.equal('unavailable');
    expect(refused.message).to.include('there is no network; node web starts automatically when that is over');
    expect(bench.context.registry.resolve(id)).to.deep.include({ status: 'Stopped', desired: 'running' });
    await new NodeMender(bench.service).tick(never);
    expect(statusOf(id)).to.equal('Running');
  });

  it('stay stopped where somebody stopped them, and Failed where it was their own fault', async () => {
    const { id } = await bench.service.create(NODE_REQUEST, never);
    await bench.service.stop(id, 100);
    const mender = new NodeMender(bench.service);
    await mender.tick(never);
    expect(statusOf(id)).to.equal('Stopped');
    bench.script.failNext('runtime.start');
    expect(await codeOf(() => bench.service.start(id, never))).to.equal('internal');
    await mender.tick(never);
    expect(statusOf(id)).to.equal('Failed');
  });

  it('are joined to the network again one by one', async () => {
    const { id, hosting } = await bench.service.create(NODE_REQUEST, never);
    const { slot } = hosting;
    bench.network.links.delete(slot);
    await new NodeMender(bench.service).tick(never);
    expect([...bench.network.links.keys()]).to.deep.equal([slot]);
    expect(statusOf(id)).to.equal('Running');
    expect((await bench.store.events.list(0)).map(({ type }) => type)).to.include('node.relinked');
  });
});
