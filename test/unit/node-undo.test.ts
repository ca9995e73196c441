/** Each step of a node's creation fails in turn: before it had any effect, and after it had all of it. */
import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { identityOf } from '../../controller/hosting/record.js';
import { createNode, makeNode, reserveNode, type Reserved } from '../../controller/node/life/create.js';
import { nodeRunDir } from '../../controller/node/paths.js';
import { reconcileAtBoot } from '../../controller/node/watch/reconcile.js';
import type { NodeRecord } from '../../controller/store/port/store.js';
import { NexusError } from '../../shared/errors.js';
import { codeOf, errorOf } from '../support/codes.js';
import { NODE_REQUEST, NodeBench } from '../support/nodes.js';

const never = new AbortController().signal;

/** What undoes everything, in its order. */
const ALL_UNDONE = ['network.detach', 'runtime.remove', 'volume.waitReleased', 'volume.remove', 'store.remove'];

interface StepOfCreation {
  readonly step: string;
  /** What is still done, since it was begun beside it. */
  readonly beside?: readonly string[];
  readonly undone: readonly string[];
}

/** The steps in their order, and how much of it there is to undo once a step was begun. */
const STEPS: readonly StepOfCreation[] = [
  { step: 'volume.create', undone: ALL_UNDONE.slice(3) },
  { step: 'volume.assertFree', undone: ALL_UNDONE.slice(3) },
  { step: 'image.rootfsOf', beside: ['bus.issueCredentials'], undone: ALL_UNDONE },
  { step: 'bus.issueCredentials', beside: ['runtime.create', 'network.attach'], undone: ALL_UNDONE },
  { step: 'runtime.create', undone: ALL_UNDONE },
  { step: 'network.attach', undone: ALL_UNDONE },
  { step: 'runtime.start', undone: ALL_UNDONE },
  { step: 'store.update', undone: ALL_UNDONE },
];

describe('the creation of a node', () => {
  let bench: NodeBench;
  let reserved: Reserved;
  let node: NodeRecord;

  beforeEach(async () => {
    bench = await NodeBench.open();
    reserved = await reserveNode(bench.context, NODE_REQUEST);
    ({ node } = reserved);
    bench.script.calls.length = 0;
  });
  afterEach(async () => {
    await bench.dispose();
  });

  const names = (): string[] => bench.script.calls.map((call) => call.split(' ')[0] ?? '');
  const create = (signal = never): Promise<NodeRecord> =>
    createNode(bench.context, reserved, (undo) => makeNode(bench.context, node, undo, signal));

  it('takes its steps in order and leaves a running node', async () => {
    const created = await create();
    expect(created).to.include({ status: 'Running', statusReason: '' });
    const { pid } = identityOf(created);
    expect(pid).to.be.greaterThan(0);
    expect(names()).to.deep.equal(STEPS.map(({ step }) => step));
    expect(bench.leftOf(node)).to.include.members(['container', 'link', 'volume', 'folder', 'record']);
    expect(bench.network.links.get(node.hosting.slot)).to.deep.equal({ slot: 0, ip: '10.0.42.2', pid });
  });

  for (const when of ['before', 'after'] as const) {
    for (const { step, beside = [], undone } of STEPS) {
      it(`that fails ${when} ${step} is undone in reverse order, and nothing is left`, async () => {
        const failure = new NexusError('resource_exhausted', 'told to fail');
        bench.script.failNext(step, 1, failure, when);
        const error = await errorOf(create);
        expect(error).to.include({ code: 'resource_exhausted', message: 'create node web: told to fail' });
        expect(names().slice(names().indexOf(step) + 1)).to.deep.equal([...beside, ...undone]);
        expect(bench.leftOf(node)).to.deep.equal([]);
        expect(await bench.store.nodes.list()).to.deep.equal([]);
      });
    }
  }

  it('keeps the runtime folder until the container is gone, and no longer than the volume', async () => {
    const seen: Record<string, boolean> = {};
    bench.script.observe = (call) => {
      seen[call.split(' ')[0] ?? ''] = existsSync(nodeRunDir(bench.settings, node.id));
    };
    bench.script.failNext('runtime.start');
    await errorOf(create);
    expect(seen).to.include({ 'runtime.remove': true, 'volume.waitReleased': true, 'volume.remove': false });
  });

  it('that the host has no room for names the disk of the volumes, and what is kept free', async () => {
    bench.volumes.free = 0;
    const error = await errorOf(create);
    expect(error.code).to.equal('resource_exhausted');
    expect(error.message).to.include(
      'the disk under /fake/volumes has 0 B left for volumes (256 MB are kept free for the host itself); make room on it',
    );
  });

  it('is undone when the agent is never heard', async () => {
    bench.agentsSpeak = false;
    const error = await errorOf(create);
    expect(error.code).to.equal('deadline_exceeded');
    expect(names().slice(-ALL_UNDONE.length)).to.deep.equal(ALL_UNDONE);
    expect(bench.leftOf(node)).to.deep.equal([]);
  });

  it('is undone when the container ends before its agent is heard', async () => {
    bench.agentsSpeak = false;
    bench.script.observe = (call) => {
      if (call.startsWith('runtime.start')) setImmediate(() => void bench.runtime.end(node.id));
    };
    const error = await errorOf(create);
    expect(error).to.include({ code: 'failed_precondition' });
    expect(error.message).to.include('ended while it started');
    expect(bench.leftOf(node)).to.deep.equal([]);
  });

  it('is undone when the caller goes while it waits', async () => {
    bench.agentsSpeak = false;
    const caller = new AbortController();
    bench.script.observe = (call) => {
      if (call.startsWith('runtime.start'))
        setImmediate(() => caller.abort(new NexusError('cancelled', 'the caller went away')));
    };
    expect(await codeOf(() => create(caller.signal))).to.equal('cancelled');
    expect(bench.leftOf(node)).to.deep.equal([]);
  });

  it('leaves name and slot to the next one after a failure', async () => {
    bench.script.failNext('network.attach');
    await errorOf(create);
    const again = await bench.service.create(NODE_REQUEST, never);
    expect(again).to.include({ name: 'web', status: 'Running' });
    expect(again.hosting.slot).to.equal(0);
  });

  it('that nothing could be reserved for has touched nothing', async () => {
    expect(await codeOf(() => reserveNode(bench.context, NODE_REQUEST))).to.equal('already_exists');
    bench.script.failNext('store.reserve');
    expect(await codeOf(() => reserveNode(bench.context, { ...NODE_REQUEST, name: 'other' }))).to.equal('internal');
    bench.volumes.free = 0;
    const tooLarge = codeOf(() => reserveNode(bench.context, { ...NODE_REQUEST, name: 'other' }));
    expect(await tooLarge).to.equal('resource_exhausted');
    expect(names().filter((name) => /create|attach|start$/.test(name))).to.deep.equal([]);
    expect(bench.context.registry.list()).to.have.length(1);
  });

  describe('whose undoing fails, too', () => {
    for (const step of ALL_UNDONE.slice(0, -1)) {
      it(`at ${step} undoes the rest, stays known, and is finished by the next start of the controller`, async () => {
        bench.script.failNext('runtime.create');
        bench.script.failNext(step, 1, new NexusError('internal', 'cannot be undone'));
        expect((await errorOf(create)).message).to.include('runtime.create was told to fail');
        for (const other of ALL_UNDONE.slice(0, -1)) expect(names(), other).to.include(other);
        expect(bench.context.registry.get(node.id)).to.include({ status: 'Removing', desired: 'removed' });
        await reconcileAtBoot(bench.service, never);
        expect(bench.leftOf(node)).to.deep.equal([]);
        expect(await bench.store.nodes.list()).to.deep.equal([]);
      });
    }

    it('can be removed by hand, and keeps its slot from others until then', async () => {
      bench.script.failNext('runtime.start');
      bench.script.failNext('volume.remove');
      await errorOf(create);
      expect((await reserveNode(bench.context, { ...NODE_REQUEST, name: 'other' })).node.hosting.slot).to.equal(1);
      await bench.service.remove('web', false);
      expect(bench.leftOf(node)).to.deep.equal([]);
    });
  });
});

describe('a later start of a node', () => {
  it('that fails is undone but for its volume and its record, which says why', async () => {
    const bench = await NodeBench.open();
    try {
      const node = await bench.service.create(NODE_REQUEST, never);
      await bench.service.stop('web', 0);
      expect(bench.leftOf(node)).to.include.members(['volume', 'record']).and.not.include('container');
      for (const { step } of STEPS.slice(1, -1)) {
        bench.script.failNext(step, 1, new NexusError('unavailable', 'told to fail'));
        expect(await codeOf(() => bench.service.start('web', never)), step).to.equal('unavailable');
        expect(bench.leftOf(node), step).to.deep.equal(['volume', 'log', 'record']);
        const { status, statusReason } = bench.context.registry.expect(node.id);
        expect([status, statusReason]).to.deep.equal(['Failed', 'start node web: told to fail']);
      }
      expect(await bench.service.start('web', never)).to.include({ status: 'Running', statusReason: '' });
    } finally {
      await bench.dispose();
    }
  });
});
