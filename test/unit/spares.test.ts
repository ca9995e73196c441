/** Spares: which are kept, who gets one, and what is left of them, on fakes. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { identityOf } from '../../controller/hosting/record.js';
import type { NodeContext } from '../../controller/node/context.js';
import { nodeConfigDir } from '../../controller/node/paths.js';
import {
  DEFAULT_SHAPE,
  planSpares,
  shapeAfter,
  type SpareFacts,
  type SpareShape,
} from '../../controller/node/spare/plan.js';
import { NodeService } from '../../controller/node/service.js';
import { reconcileAtBoot } from '../../controller/node/watch/reconcile.js';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { NexusError } from '../../shared/errors.js';
import { newNodeId } from '../../shared/ids.js';
import { GIB } from '../../shared/limits.js';
import { NODE_REQUEST, NodeBench } from '../support/nodes.js';
import { codeOf } from '../support/codes.js';

const never = new AbortController().signal;
const OTHER: SpareShape = { ...DEFAULT_SHAPE, memoryMb: 256 };

describe('the plan of spares', () => {
  const spare = (change: Partial<SpareFacts['spares'][number]> = {}): SpareFacts['spares'][number] => ({
    id: newNodeId(),
    shape: DEFAULT_SHAPE,
    isAlive: true,
    ...change,
  });
  const facts = (spares: SpareFacts['spares'], change: Partial<SpareFacts> = {}): SpareFacts => ({
    wanted: 2,
    shape: DEFAULT_SHAPE,
    spares,
    freeSlots: 100,
    ...change,
  });

  it('makes one at a time until there are enough', () => {
    expect(planSpares(facts([]))).to.deep.equal({ drop: [], makesOne: true, lacksSlots: false });
    expect(planSpares(facts([spare()]))).to.deep.equal({ drop: [], makesOne: true, lacksSlots: false });
    expect(planSpares(facts([spare(), spare()]))).to.deep.equal({ drop: [], makesOne: false, lacksSlots: false });
  });

  it('drops those that ended, and those that fit no longer', () => {
    const [ended, other, good] = [spare({ isAlive: false }), spare({ shape: OTHER }), spare()];
    expect(planSpares(facts([ended, other, good]))).to.deep.equal({
      drop: [ended.id, other.id],
      makesOne: true,
      lacksSlots: false,
    });
  });

  it('leaves the last slot to a creation that no spare fits', () => {
    expect(planSpares(facts([], { freeSlots: 1 })).makesOne).to.equal(false);
    expect(planSpares(facts([], { freeSlots: 2 })).makesOne).to.equal(true);
  });

  it('never keeps more than are wanted, nor one that cannot be given', () => {
    const oneSpare = fc.record({ isAlive: fc.boolean(), isOther: fc.boolean() });
    fc.assert(
      fc.property(fc.nat(6), fc.nat(4), fc.array(oneSpare, { maxLength: 8 }), (wanted, freeSlots, all) => {
        const spares = all.map(({ isAlive, isOther }) => spare({ isAlive, shape: isOther ? OTHER : DEFAULT_SHAPE }));
        const { drop, makesOne } = planSpares(facts(spares, { wanted, freeSlots }));
        const kept = spares.filter(({ id }) => !drop.includes(id));
        expect(kept.length + (makesOne ? 1 : 0)).to.be.at.most(wanted);
        expect(kept.every(({ shape, isAlive }) => isAlive && shape === DEFAULT_SHAPE)).to.equal(true);
        if (makesOne) expect(freeSlots + drop.length).to.be.greaterThan(1);
      }),
    );
  });

  it('takes the shape of the last creation from the base image', () => {
    expect(shapeAfter(DEFAULT_SHAPE, OTHER)).to.equal(OTHER);
    expect(shapeAfter(DEFAULT_SHAPE, { ...OTHER, image: 'alpine' })).to.equal(DEFAULT_SHAPE);
  });
});

describe('spares', () => {
  let bench: NodeBench;
  let service: NodeService;
  /** As if nothing had been asked for a long time. */
  let nowMs: number;

  beforeEach(async () => {
    bench = await NodeBench.open();
    nowMs = 0;
    service = serviceWith(1);
  });
  afterEach(async () => {
    await bench.dispose();
  });

  const serviceWith = (spareNodes: number, change: Partial<NodeContext> = {}): NodeService =>
    new NodeService({
      ...bench.context,
      ...change,
      settings: { ...bench.settings, spareNodes },
      clock: { ...bench.context.clock, monotonic: () => nowMs },
    });
  const refill = async (): Promise<void> => {
    nowMs += 60_000;
    await service.spares.tick(never);
  };
  const request = { ...NODE_REQUEST, ...DEFAULT_SHAPE, name: 'web' };
  const notes = (): string[] => {
    const folder = join(bench.settings.stateDir, 'spares');
    return existsSync(folder) ? readdirSync(folder) : [];
  };
  const asked = (): string[] => bench.script.calls.map((call) => call.split(' ')[0] ?? '');

  it('are not made where none are wanted', async () => {
    service = serviceWith(0);
    await refill();
    expect(bench.runtime.containers.size).to.equal(0);
  });

  it('are no nodes, and their agents have neither configuration nor credentials', async () => {
    await refill();
    expect(service.spares.ready).to.equal(1);
    expect(bench.context.registry.list()).to.deep.equal([]);
    expect(await bench.store.nodes.list()).to.deep.equal([]);
    const [spare] = service.spares.nodes;
    expect(readdirSync(nodeConfigDir(bench.settings, spare!.id)).sort()).to.deep.equal(['etc', 'places.json']);
  });

  it('become the node that is asked for, with its id, its slot and its container', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    bench.script.calls.length = 0;
    const node = await service.create({ ...request, cpuWeight: 77, labels: { zone: 'a' } }, never);
    expect(node).to.deep.include({
      id: spare!.id,
      name: 'web',
      status: 'Running',
      cpuWeight: 77,
      labels: { zone: 'a' },
    });
    expect(identityOf(node)).to.deep.equal(identityOf(spare!));
    expect(bench.runtime.containers.get(node.id)?.limits.cpuWeight).to.equal(77);
    expect(asked()).not.to.include.members(['runtime.create', 'volumes.create']);
    expect(service.spares.ready).to.equal(0);
    expect(notes()).to.deep.equal([]);
    expect(readdirSync(nodeConfigDir(bench.settings, node.id)).sort()).to.deep.equal([
      'agent.creds',
      'agent.json',
      'etc',
      'places.json',
    ]);
    const { lostFiles } = await service.remove('web', true);
    expect(lostFiles).to.deep.equal([]);
    expect(bench.leftOf(node)).to.deep.equal([]);
  });

  it('are kept from a creation that they do not fit, and are made for the next like it', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    const node = await service.create({ ...request, storageBytes: 2 * GIB }, never);
    expect(node.id).not.to.equal(spare!.id);
    expect(node.hosting.slot).not.to.equal(spare!.hosting.slot);
    await refill();
    expect(service.spares.nodes.map(({ storageBytes }) => storageBytes)).to.deep.equal([2 * GIB]);
    // The link is the next one's, in the same slot.
    expect(bench.leftOf(spare!)).to.deep.equal(['link']);
    const { hosting } = service.spares.nodes[0]!;
    expect((await service.create({ ...request, storageBytes: 2 * GIB, name: 'next' }, never)).hosting.slot).to.equal(
      hosting.slot,
    );
  });

  it('learn nothing from a creation that was refused', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    await service.create({ ...request, name: 'other' }, never);
    await refill();
    const [next] = service.spares.nodes;
    expect(next!.id).not.to.equal(spare!.id);
    const asked = { ...request, name: 'other', storageBytes: 2 * GIB };
    expect(await codeOf(() => service.create(asked, never))).to.equal('already_exists');
    await refill();
    expect(service.spares.nodes.map(({ id }) => id)).to.deep.equal([next!.id]);
  });

  it('are given only while they live', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    await bench.runtime.end(spare!.id);
    expect((await service.create(request, never)).id).not.to.equal(spare!.id);
  });

  it('are kept when the name is taken', async () => {
    await service.create({ ...request, memoryMb: 64 }, never);
    service = serviceWith(1);
    await refill();
    expect(await codeOf(() => service.create(request, never))).to.equal('already_exists');
    expect(service.spares.ready).to.equal(1);
  });

  it('are forgotten when it is not known whether they became nodes', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    bench.script.failNext('store.insert', 1, new NexusError('unavailable', 'broken', { outcome: 'unknown' }), 'after');
    await codeOf(() => service.create(request, never));
    expect(service.spares.ready).to.equal(0);
    await service.finishCutOff();
    expect(bench.leftOf(spare!)).to.deep.equal([]);
  });

  it('that become a node whose agent is not heard leave nothing', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    bench.agentsSpeak = false;
    expect(await codeOf(() => service.create(request, never))).to.equal('deadline_exceeded');
    expect(bench.leftOf(spare!)).to.deep.equal([]);
    expect(notes()).to.deep.equal([]);
  });

  it('that do not answer when they are given are removed, and the node is made without them', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    const before = bench.runtime.containers.get(spare!.id);
    bench.runtime.onAssign = () => undefined;
    const node = await service.create(request, never);
    expect(node).to.deep.include({ id: spare!.id, name: 'web', status: 'Running' });
    expect(identityOf(node)).not.to.deep.equal(identityOf(spare!));
    const made = bench.runtime.containers.get(node.id);
    expect(made).not.to.equal(before);
    expect(made?.hasStarted).to.equal(true);
    expect(notes()).to.deep.equal([]);
    await service.remove('web', true);
    expect(bench.leftOf(node)).to.deep.equal([]);
  });

  it('that do not answer and cannot be removed leave the node to be removed later', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    bench.runtime.onAssign = () => undefined;
    bench.script.failNext('runtime.remove', 2);
    await codeOf(() => service.create(request, never));
    expect(bench.context.registry.list().map(({ id, status }) => ({ id, status }))).to.deep.equal([
      { id: spare!.id, status: 'Removing' },
    ]);
    await service.finishCutOff();
    expect(bench.leftOf(spare!)).to.deep.equal([]);
    expect(notes()).to.deep.equal([]);
  });

  it('whose creation is given up while they are silent leave nothing', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    const leaving = new AbortController();
    bench.runtime.onAssign = () => {
      leaving.abort();
    };
    await codeOf(() => service.create(request, leaving.signal));
    expect(bench.leftOf(spare!)).to.deep.equal([]);
  });

  it('that cannot be made leave nothing, and are tried again later', async () => {
    bench.script.failNext('network.attach');
    await refill();
    expect(bench.runtime.containers.size + bench.volumes.volumes.size + bench.network.links.size).to.equal(0);
    expect(notes()).to.deep.equal([]);
    await service.spares.tick(never);
    expect(service.spares.ready, 'at once').to.equal(0);
    await refill();
    expect(service.spares.ready, 'later').to.equal(1);
  });

  const warnings = (): string[] => service.spares.warnings.map(inCommandWords);

  it('are warned of when they cannot be made, with the reason and its remedy', async () => {
    expect(warnings(), 'before the first attempt').to.deep.equal([]);
    const failure = new NexusError('not_found', 'there is no image "base"', {}, { advice: { key: 'list-images' } });
    bench.script.failNext('network.attach', 1, failure);
    await refill();
    expect(warnings()).to.deep.equal([
      '0 of 1 spares are ready (spare-nodes): make a spare: there is no image "base"; nexus image ls lists them, nexus image import adds one',
    ]);
    await service.spares.tick(never);
    expect(warnings(), 'until the next attempt').to.have.length(1);
    await refill();
    expect(warnings()).to.deep.equal([]);
  });

  it('are warned of without advice on a node that is none', async () => {
    const failure = new NexusError(
      'internal',
      'its volume is broken',
      {},
      { advice: { key: 'see-node-logs', node: 'x' } },
    );
    bench.script.failNext('network.attach', 1, failure);
    await refill();
    expect(warnings()).to.deep.equal(['0 of 1 spares are ready (spare-nodes): make a spare: its volume is broken']);
  });

  it('are warned of where no slot is left for them', async () => {
    const { slots } = bench.context.hostings.own;
    for (let number = 0; number < slots - 1; number += 1)
      await service.create({ ...NODE_REQUEST, name: `n${number}` }, never);
    await refill();
    expect(warnings()[0]).to.match(/^0 of 1 spares are ready .*no address is free .*nexus node rm NAME/);
    await service.remove('n0', true);
    await refill();
    expect(warnings()).to.deep.equal([]);
  });

  it('are warned of where a disk is full', async () => {
    service = serviceWith(1, { hostRoom: { isFull: true } as NodeContext['hostRoom'] });
    await refill();
    expect(warnings()).to.deep.equal([
      '0 of 1 spares are ready (spare-nodes): none are made while a disk of this machine is full',
    ]);
  });

  it('give up a slot when a creation needs the last one', async () => {
    const { slots } = bench.context.hostings.own;
    for (let number = 0; number < slots - 2; number += 1)
      await service.create({ ...NODE_REQUEST, name: `n${number}` }, never);
    await refill();
    expect(service.spares.ready).to.equal(1);
    const other = { ...NODE_REQUEST, memoryMb: 65 };
    await service.create({ ...other, name: 'last-but-one' }, never);
    await service.create({ ...other, name: 'last' }, never);
    expect(service.spares.ready).to.equal(0);
    expect(await codeOf(() => service.create({ ...other, name: 'none' }, never))).to.equal('resource_exhausted');
  });

  it('go before the image that they are of, and come again', async () => {
    await refill();
    let duringRemoval = -1;
    await service.spares.without('base', async () => {
      duringRemoval = bench.runtime.containers.size;
    });
    expect(duringRemoval).to.equal(0);
    await refill();
    expect(service.spares.ready).to.equal(1);
  });

  it('end with the controller, and are not made any more', async () => {
    await refill();
    await service.spares.close();
    await refill();
    expect(bench.runtime.containers.size + bench.volumes.volumes.size + bench.network.links.size).to.equal(0);
    expect(notes()).to.deep.equal([]);
  });

  it('of a controller that was killed are removed by the next one', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    const next = serviceWith(0);
    await reconcileAtBoot(next, never);
    expect(bench.leftOf(spare!)).to.deep.equal([]);
    expect(notes()).to.deep.equal([]);
  });

  it('of a controller that was killed go even if the note of another one cannot be read', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    const folder = join(bench.settings.stateDir, 'spares');
    const names = ['{"id":"', JSON.stringify({ id: 'x' })].map((text) => {
      const name = `${newNodeId()}.json`;
      writeFileSync(join(folder, name), text);
      return name;
    });
    await reconcileAtBoot(serviceWith(0), never);
    expect(bench.leftOf(spare!)).to.deep.equal([]);
    expect(notes().sort()).to.deep.equal(names.sort());
  });

  it('of which a node is in the store already are the store’s', async () => {
    await refill();
    const [spare] = service.spares.nodes;
    // As a controller leaves it that is killed right after the write.
    await bench.context.registry.adopt({ ...spare!, name: 'web', desired: 'running' });
    expect(notes()).to.have.length(1);
    await reconcileAtBoot(serviceWith(0), never);
    expect(bench.leftOf(spare!)).to.deep.equal([]);
    expect(notes()).to.deep.equal([]);
  });
});
