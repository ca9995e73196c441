import { expect } from 'chai';
import { Beats, scheduleOf } from '../../agent/beats.js';
import { Patience } from '../../agent/bus/nats.js';
import { limitsAt } from '../../controller/node/watch/liveness.js';
import { intervalFor, Pace } from '../../controller/node/watch/pace.js';
import { systemClock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { AgentReply } from '../../shared/gen/nexus/v1/agent.js';
import { newNodeId, type NodeId } from '../../shared/ids.js';
import { HEARTBEAT_GRID_MS } from '../../shared/limits.js';
import { codeOf } from '../support/codes.js';

describe('the interval of heartbeats', () => {
  it('grows with the number of nodes, and shrinks only when clearly fewer are left', () => {
    for (const [nodes, nowMs, due] of [
      [0, 1000, 1000],
      [50, 1000, 1000],
      [51, 1000, 2500],
      [45, 2500, 2500],
      [40, 2500, 1000],
      [200, 2500, 2500],
      [201, 1000, 5000],
      [170, 5000, 5000],
      [160, 5000, 2500],
      [5, 5000, 1000],
    ] as const) {
      expect(intervalFor(nodes, nowMs), `${nodes} nodes at ${nowMs} ms`).to.equal(due);
    }
  });

  it('leaves an agent as much more silence as its heartbeats are further apart', () => {
    const limits = { suspectAfterMs: 3000, lostAfterMs: 10_000 };
    expect(limitsAt(1000, limits)).to.deep.equal(limits);
    expect(limitsAt(5000, limits)).to.deep.equal({ suspectAfterMs: 11_000, lostAfterMs: 18_000 });
  });

  describe('that agents are asked for', () => {
    let asked: [NodeId, number | undefined][];
    let nowMs: number;
    let answer: () => Promise<AgentReply>;
    let pace: Pace;
    const nodes = Array.from({ length: 60 }, () => newNodeId());
    const [node = newNodeId()] = nodes;

    beforeEach(() => {
      asked = [];
      nowMs = 0;
      answer = () => Promise.resolve(AgentReply.fromPartial({}));
      const clock = { ...systemClock, monotonic: () => nowMs };
      const request = (id: NodeId, command: { pace?: { intervalMs: number } | undefined }): Promise<AgentReply> => {
        asked.push([id, command.pace?.intervalMs]);
        return answer();
      };
      pace = new Pace({ bus: { request }, clock });
    });

    it('is none before the nodes were counted: agents of many nodes would all be called back first', () => {
      pace.heard(node, 5000);
      expect(asked).to.deep.equal([]);
    });

    it('is told to those alone that say another one, and to none that knows of none', () => {
      pace.setNodes(new Set(nodes));
      pace.heard(node, 0);
      pace.heard(node, 2500);
      expect(asked).to.deep.equal([]);
      pace.heard(node, 1000);
      pace.heard(node, 1000);
      expect(asked).to.deep.equal([[node, 2500]]);
    });

    it('is told again to one that refuses, but not with each heartbeat', async () => {
      answer = () => Promise.reject(new NexusError('unavailable', 'no answer'));
      pace.setNodes(new Set(nodes));
      for (nowMs = 0; nowMs < 60_000; nowMs += 1000) pace.heard(node, 1000);
      await Promise.resolve();
      expect(asked).to.have.length(2);
    });
  });
});

describe('beats of an agent', () => {
  const ids = Array.from({ length: 400 }, () => newNodeId());

  it('are spread over the moments of each interval, and so are those that report', () => {
    for (const [intervalMs, beatsPerReport, beatsPerLook] of [
      [1000, 5, 2],
      [2500, 2, 1],
      [5000, 1, 1],
    ] as const) {
      const phases = new Set<number>();
      for (const id of ids) {
        const { phaseMs, reports, looks } = scheduleOf(id, intervalMs);
        expect(phaseMs % HEARTBEAT_GRID_MS).to.equal(0);
        expect(phaseMs).to.be.below(intervalMs);
        phases.add(phaseMs);
        const counts = Array.from({ length: 20 }, (_, count) => count);
        expect(counts.filter(reports)).to.have.length(20 / beatsPerReport);
        expect(counts.filter(looks)).to.have.length(20 / beatsPerLook);
      }
      expect(phases.size).to.equal(intervalMs / HEARTBEAT_GRID_MS);
    }
  });

  it('tell at once of a new interval, and refuse one that is not allowed', async () => {
    const beats: boolean[] = [];
    using agent = new Beats(newNodeId(), { beat: (reports) => beats.push(reports), look: () => undefined });
    agent.keepTo(5000);
    expect(beats).to.deep.equal([false]);
    agent.keepTo(5000);
    expect(beats).to.have.length(1);
    for (const ms of [0, 999, 1100, 5250, -1000, NaN]) {
      expect(await codeOf(() => Promise.resolve().then(() => agent.keepTo(ms)))).to.equal('invalid_argument');
    }
    expect(agent.intervalMs).to.equal(5000);
  });
});

describe('attempts to reach a bus that is away', () => {
  it('become as rare as heartbeats, and begin anew once it was reached', () => {
    let beatMs = 1000;
    const patience = new Patience(() => beatMs);
    const delay = (atMs: number): number => patience.delayMs(atMs);
    expect(delay(5000)).to.be.within(250, 375);
    expect(delay(5800)).to.be.within(400, 600);
    expect(delay(60_000)).to.be.within(1000, 1500);
    patience.connected();
    expect(delay(70_000)).to.be.within(250, 375);
    beatMs = 5000;
    expect(delay(70_000)).to.be.within(1250, 1875);
    expect(delay(90_000)).to.be.within(5000, 7500);
  });
});
