/** Verbs whose next state the store refused to note (its disk was full) are brought to rest when it takes writes again. */
import { expect } from 'chai';
import { endCluster } from '../../controller/node/life/end-cluster.js';
import { NodeMender } from '../../controller/node/watch/mend.js';
import { NexusError } from '../../shared/errors.js';
import { codeOf, errorOf } from '../support/codes.js';
import { NODE_REQUEST, NodeBench } from '../support/nodes.js';

const never = new AbortController().signal;
const full = new NexusError('resource_exhausted', 'the disk is full');
const unknown = new NexusError('unavailable', 'whether it was stored is not known', { outcome: 'unknown' });

describe('a node verb that the store has cut off', () => {
  let bench: NodeBench;
  beforeEach(async () => {
    bench = await NodeBench.open();
  });
  afterEach(async () => {
    await bench.dispose();
  });

  const create = () => bench.service.create(NODE_REQUEST, never);
  const states = async (): Promise<string[]> => {
    const seen = bench.context.registry.list().map((node) => node.status);
    expect((await bench.store.nodes.list()).map((node) => node.status)).to.deep.equal(seen);
    return seen;
  };
  /** The store is full from the moment of that call on. */
  const fullFrom = (step: string): void => {
    bench.script.observe = (call) => {
      if (!call.startsWith(step)) return;
      for (const write of ['store.update', 'store.remove']) bench.script.failNext(write, 2, full);
      bench.script.observe = () => undefined;
    };
  };
  const recovered = async (): Promise<string[]> => {
    for (let turn = 0; turn < 5; turn += 1) await bench.service.finishCutOff();
    return await states();
  };

  it('a creation leaves no record', async () => {
    fullFrom('runtime.start');
    bench.script.failNext('runtime.start');
    const said = await create().then(
      () => 'accepted',
      (error: unknown) => (error as Error).message,
    );
    expect(said).to.include('the rest of the node is removed as soon as possible');
    expect(await states()).to.deep.equal(['Creating']);
    expect(await recovered()).to.deep.equal([]);
    bench.script.failNext('store.update', 0);
    expect(await codeOf(create)).to.equal('accepted');
  });

  it('a stop ends in Stopped', async () => {
    await create();
    fullFrom('runtime.remove');
    expect(await codeOf(() => bench.service.stop('web', 0))).to.equal('resource_exhausted');
    expect(await states()).to.deep.equal(['Stopping']);
    expect(await recovered()).to.deep.equal(['Stopped']);
    expect((await bench.service.start('web', never)).status).to.equal('Running');
  });

  it('a start is made up for: nothing of it runs meanwhile, and the answer says that the node starts by itself', async () => {
    await create();
    await bench.service.stop('web', 0);
    fullFrom('runtime.start');
    const error = await errorOf(() => bench.service.start('web', never));
    expect(error.code).to.equal('resource_exhausted');
    expect(error.message).to.match(/the disk is full; node web starts automatically when that is over$/);
    expect(await states()).to.deep.equal(['Creating']);
    expect(await recovered()).to.deep.equal(['Stopped']);
    expect(await bench.runtime.list()).to.deep.equal([]);
    expect(bench.context.registry.resolve('web').statusReason).to.equal(error.message);
    await new NodeMender(bench.service).tick(never);
    expect(await states()).to.deep.equal(['Running']);
  });

  it('a restart is made up for, wherever it was cut off, also when the disk has room again at once', async () => {
    await create();
    for (const step of ['runtime.remove', 'runtime.create', 'runtime.start']) {
      fullFrom(step);
      expect(await codeOf(() => bench.service.restart('web', never)), step).to.equal('resource_exhausted');
      expect(await recovered(), step).to.deep.equal(['Stopped']);
      await new NodeMender(bench.service).tick(never);
      expect(await states(), step).to.deep.equal(['Running']);
    }
    bench.script.failNext('runtime.start', 1, full);
    expect(await codeOf(() => bench.service.restart('web', never))).to.equal('resource_exhausted');
    expect(await states()).to.deep.equal(['Stopped']);
    await new NodeMender(bench.service).tick(never);
    expect(await states()).to.deep.equal(['Running']);
  });

  it('a start that failed by itself ends in Failed, although that could not be stored at once', async () => {
    await create();
    await bench.service.stop('web', 0);
    fullFrom('runtime.start');
    bench.script.failNext('runtime.start', 1, new NexusError('failed_precondition', 'the volume is damaged'));
    expect(await codeOf(() => bench.service.start('web', never))).to.equal('failed_precondition');
    expect(await states()).to.deep.equal(['Creating']);
    expect(await recovered()).to.deep.equal(['Failed']);
    expect(bench.context.registry.resolve('web').statusReason).to.match(/the volume is damaged$/);
    expect(await bench.runtime.list()).to.deep.equal([]);
  });

  it('a node that cannot be started is not tried again at once', async () => {
    await create();
    const mender = new NodeMender(bench.service);
    bench.script.failNext('runtime.start', 2, full);
    expect(await codeOf(() => bench.service.restart('web', never))).to.equal('resource_exhausted');
    for (let turn = 0; turn < 3; turn += 1) await mender.tick(never);
    expect(await states()).to.deep.equal(['Stopped']);
    await new NodeMender(bench.service).tick(never);
    expect(await states()).to.deep.equal(['Running']);
  });

  it('a removal is finished', async () => {
    await create();
    fullFrom('volume.remove');
    expect(await codeOf(() => bench.service.remove('web', false))).to.equal('resource_exhausted');
    expect(await states()).to.deep.equal(['Removing']);
    expect(await recovered()).to.deep.equal([]);
  });

  it('a creation that nobody was told of, because its outcome was unknown, is undone', async () => {
    bench.script.failNext('store.reserve', 1, unknown, 'after');
    expect(await codeOf(create)).to.equal('unavailable');
    expect(bench.context.registry.list()).to.deep.equal([]);
    expect(await bench.store.nodes.list()).to.have.length(1);
    expect(await recovered()).to.deep.equal([]);
  });

  it('a change of unknown outcome is known as the store has it', async () => {
    await create();
    bench.script.failNext('store.update', 1, unknown, 'after');
    expect(await codeOf(() => bench.service.setCordoned('web', true))).to.equal('unavailable');
    expect(bench.context.registry.resolve('web').cordoned).to.equal(false);
    await bench.service.finishCutOff();
    expect(bench.context.registry.resolve('web').cordoned).to.equal(true);
  });

  it('a purge needs no store', async () => {
    const node = await create();
    for (const write of ['store.update', 'store.remove']) bench.script.failNext(write, 100, full);
    let stopped = false;
    await endCluster(
      bench.service,
      true,
      () => Promise.resolve(),
      () => {
        stopped = true;
        return Promise.resolve();
      },
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(stopped).to.equal(true);
    expect(bench.leftOf(node).filter((what) => what !== 'record')).to.deep.equal([]);
  });
});
