/** Where invocations and prewarmed sandboxes go. */
import { expect } from 'chai';
import fc from 'fast-check';
import { Demand } from '../../controller/lambda/demand.js';
import { planPlacement, planPool, type LambdaNode } from '../../controller/lambda/plan.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';

const node = (name: string, more: Partial<LambdaNode> = {}): LambdaNode => ({
  id: name as NodeId,
  name,
  unfit: undefined,
  memoryBytes: 256 * MIB,
  usedBytes: 64 * MIB,
  reservedBytes: 0,
  running: 0,
  warm: 0,
  ...more,
});

const placed = (nodes: readonly LambdaNode[], memoryMb = 128, only?: string): string => {
  const plan = planPlacement(nodes, memoryMb * MIB, only as NodeId | undefined);
  return plan.kind === 'place' ? plan.node.name : plan.kind;
};

describe('placement of an invocation', () => {
  it('prefers a warm sandbox, then the most free memory for each that runs there', () => {
    expect(placed([node('a'), node('b', { usedBytes: 0 })])).to.equal('b');
    expect(placed([node('a', { warm: 1 }), node('b', { usedBytes: 0 })])).to.equal('a');
    expect(placed([node('a', { running: 3 }), node('b', { usedBytes: 128 * MIB })])).to.equal('b');
  });

  it('lets one run alone where its whole limit is not free, rather elsewhere, and nobody beside it', () => {
    const small = node('a', { memoryBytes: 128 * MIB, warm: 1 });
    expect(placed([small])).to.equal('a');
    expect(placed([small, node('b')])).to.equal('b');
    expect(placed([{ ...small, running: 1, reservedBytes: 128 * MIB }], 16)).to.equal('wait');
    expect(placed([{ ...small, usedBytes: 100 * MIB }])).to.equal('wait');
  });

  it('passes over nodes that are not fit, and says why', () => {
    const plan = planPlacement([node('a', { unfit: 'is cordoned' }), node('b', { memoryBytes: 64 * MIB })], 128 * MIB);
    expect(plan).to.deep.equal({ kind: 'refuse', reasons: { a: 'is cordoned', b: 'has 64 MB in all' } });
  });

  it('waits where room can come, and is refused where none ever does', () => {
    const full = { usedBytes: 250 * MIB };
    expect(placed([node('a', full)])).to.equal('wait');
    expect(placed([node('a', { ...full, running: 1 })])).to.equal('wait');
    expect(placed([node('a', full)], 257)).to.equal('refuse');
    expect(placed([node('a', { ...full, running: 1, unfit: 'is Lost' })])).to.equal('refuse');
    expect(placed([])).to.equal('refuse');
  });

  it('keeps to the node that the caller names', () => {
    expect(placed([node('a', { warm: 5 }), node('b')], 128, 'b')).to.equal('b');
    expect(placed([node('a'), node('b', { unfit: 'is Stopped' })], 128, 'b')).to.equal('refuse');
  });

  it('never places beside others what could bring the node out of memory', () => {
    const nodes = fc.array(
      fc.record({
        usedBytes: fc.nat(256 * MIB),
        reservedBytes: fc.nat(256 * MIB),
        running: fc.nat(9),
        warm: fc.nat(3),
        unfit: fc.option(fc.constant('is cordoned'), { nil: undefined }),
      }),
    );
    fc.assert(
      fc.property(nodes, fc.integer({ min: 16, max: 300 }), (all, memoryMb) => {
        const snapshot = all.map((one, at) => node(`n${at}`, one));
        const plan = planPlacement(snapshot, memoryMb * MIB);
        if (plan.kind !== 'place') return;
        const { memoryBytes, usedBytes, reservedBytes, running, unfit } = plan.node;
        expect(unfit).to.equal(undefined);
        const need = running === 0 ? (memoryMb * MIB) / 4 : memoryMb * MIB;
        expect(memoryBytes - usedBytes - reservedBytes).to.be.at.least(need);
      }),
    );
  });
});

describe('the pool', () => {
  it('is spread evenly over the nodes that have room', () => {
    const nodes = [node('a'), node('b'), node('c', { unfit: 'is cordoned' }), node('d', { usedBytes: 250 * MIB })];
    expect([...planPool(nodes, 5, 128 * MIB)]).to.deep.equal([
      ['a', 3],
      ['b', 2],
      ['c', 0],
      ['d', 0],
    ]);
    const busy = node('a', { running: 2, reservedBytes: 256 * MIB, warm: 9 });
    expect([...planPool([busy], 2, 128 * MIB)], 'what runs gives up nothing that waits').to.deep.equal([['a', 2]]);
    expect([...planPool([], 5, 128 * MIB)]).to.deep.equal([]);
  });

  it('follows the busiest moment of the last half minute, within its bounds', () => {
    const demand = new Demand({ least: 2, most: 8 });
    expect(demand.target(0)).to.equal(2);
    for (let count = 0; count < 5; count += 1) demand.note(1000);
    expect(demand.target(1000)).to.equal(5);
    for (let count = 0; count < 50; count += 1) demand.note(20_000);
    expect(demand.target(20_000)).to.equal(8);
    expect(demand.target(49_000)).to.equal(8);
    expect(demand.target(51_000)).to.equal(2);
  });
});
