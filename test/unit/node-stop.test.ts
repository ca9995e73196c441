import { expect } from 'chai';
import { reconcileAtBoot } from '../../controller/node/watch/reconcile.js';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { codeOf, errorOf } from '../support/codes.js';
import { NODE_REQUEST, NodeBench } from '../support/nodes.js';

const never = new AbortController().signal;

describe('the stop of a node', () => {
  it('reaches the agent, with what is left of the grace in whole milliseconds', async () => {
    const bench = await NodeBench.open();
    try {
      await bench.service.create(NODE_REQUEST, never);
      await bench.service.stop('web', 1500);
      const graces = bench.asked.map(({ shutdown }) => shutdown?.graceMs ?? 0);
      expect(graces).to.have.length(1);
      expect(graces[0]).to.be.within(1000, 1500);
    } finally {
      await bench.dispose();
    }
  });
});

describe('an agent that does not end though it said that it would', () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = await NodeBench.open();
    await bench.service.create(NODE_REQUEST, never);
  });
  afterEach(async () => {
    await bench.dispose();
  });
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const beganAt = systemClock.monotonic();
    await work();
    return systemClock.monotonic() - beganAt;
  };

  it('is killed at once with a node that is removed, if it said that no transfer runs', async () => {
    bench.agentsAnswer = { idle: true };
    const node = bench.context.registry.resolve('web');
    expect(await timed(() => bench.service.remove('web', false))).to.be.below(1000);
    expect(bench.asked).to.have.length(1);
    expect(bench.leftOf(node)).to.deep.equal([]);
  });

  it('is called by its name to callers whose removal came second', async () => {
    bench.agentsAnswer = { idle: true };
    const node = bench.context.registry.resolve('web');
    const [first, ...others] = await Promise.allSettled(
      ['web', 'web', node.id].map((reference) => bench.service.remove(reference, false)),
    );
    expect(first?.status).to.equal('fulfilled');
    for (const other of others) {
      const refused = await errorOf(() =>
        other.status === 'rejected' ? Promise.reject(other.reason as Error) : other,
      );
      expect(refused).to.include({ code: 'not_found', message: 'node web is gone: another call has removed it' });
    }
  });

  it('has its time where a transfer runs, or the volume stays', async () => {
    bench.agentsAnswer = { idle: true };
    expect(await timed(() => bench.service.stop('web', 0))).to.be.at.least(2000);
    await bench.service.start('web', never);
    bench.agentsAnswer = { idle: false };
    expect(await timed(() => bench.service.remove('web', false))).to.be.at.least(3000);
  });
});

describe('a node whose caller goes away meanwhile', () => {
  let bench: NodeBench;
  let caller: AbortController;
  beforeEach(async () => {
    bench = await NodeBench.open();
    caller = new AbortController();
    await bench.service.create(NODE_REQUEST, never);
  });
  afterEach(async () => {
    await bench.dispose();
  });

  const goesAt = (step: string): void => {
    bench.script.observe = (call) => {
      if (call.startsWith(step)) caller.abort(new NexusError('cancelled', 'the caller went away'));
    };
  };
  const node = () => bench.context.registry.resolve('web');

  for (const step of ['runtime.remove', 'runtime.create', 'network.attach', 'runtime.start']) {
    it(`is restarted to the end (at ${step})`, async () => {
      goesAt(step);
      expect(await codeOf(() => bench.service.restart('web', caller.signal))).to.equal('accepted');
      expect(caller.signal.aborted).to.equal(true);
      expect(node()).to.include({ status: 'Running', desired: 'running' });
    });
  }

  it('is not touched when the restart had not begun', async () => {
    caller.abort(new NexusError('cancelled', 'the caller went away'));
    expect(await codeOf(() => bench.service.restart('web', caller.signal))).to.equal('cancelled');
    expect(node().status).to.equal('Running');
    expect(bench.asked).to.deep.equal([]);
  });

  for (const step of ['runtime.create', 'network.attach', 'runtime.start']) {
    it(`is Stopped again when it was being started (at ${step}), with the reason, and can be started`, async () => {
      await bench.service.stop('web', 0);
      bench.agentsSpeak = false;
      goesAt(step);
      expect(await codeOf(() => bench.service.start('web', caller.signal))).to.equal('cancelled');
      expect(node()).to.include({
        status: 'Stopped',
        desired: 'stopped',
        statusReason: 'its start was cancelled: the caller went away',
      });
      expect(await bench.runtime.list()).to.deep.equal([]);
      bench.agentsSpeak = true;
      expect((await bench.service.start('web', never)).status).to.equal('Running');
    });
  }

  it('is started by the next controller when the end of this one was what cut its start off', async () => {
    await bench.service.stop('web', 0);
    await bench.context.registry.update(node().id, { desired: 'running' });
    bench.agentsSpeak = false;
    goesAt('runtime.start');
    expect(await codeOf(() => bench.service.startWaiting(node().id, caller.signal))).to.equal('cancelled');
    expect(node()).to.include({ status: 'Stopped', desired: 'running' });
    bench.agentsSpeak = true;
    await reconcileAtBoot(bench.service, never);
    expect(node().status).to.equal('Running');
  });
});
