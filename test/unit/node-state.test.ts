import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { ownDelay, verdict } from '../../controller/node/watch/liveness.js';
import { planBoot } from '../../controller/node/watch/reconcile.js';
import { NodeRegistry } from '../../controller/node/registry.js';
import { assertMove, isListening, mayMove, NODE_STATUSES } from '../../controller/node/state.js';
import { EventLog } from '../../controller/events/log.js';
import { FakeStore } from '../fakes/store.js';
import type { NodeRecord } from '../../controller/store/port/store.js';
import { systemClock } from '../../shared/async/clock.js';
import { AgentHeartbeat } from '../../shared/gen/nexus/v1/agent.js';
import { errorOf } from '../support/codes.js';
import { newNodeId } from '../../shared/ids.js';
import { createLogger } from '../../shared/log.js';
import { NodeBench } from '../support/nodes.js';
import { nodeRecord } from '../support/records.js';

const record = (patch: Partial<NodeRecord>): NodeRecord =>
  ({ status: 'Running', desired: 'running', receiptKey: 'key', ...patch }) as NodeRecord;

describe('node states', () => {
  it('can always be left by removal, and never left once removing', () => {
    for (const status of NODE_STATUSES) expect(mayMove(status, 'Removing'), status).to.equal(status !== 'Removing');
    for (const status of NODE_STATUSES) expect(mayMove('Removing', status), status).to.equal(false);
  });

  it('reach Running only from a start or from silence that ended', () => {
    const before = NODE_STATUSES.filter((status) => mayMove(status, 'Running'));
    expect(before).to.deep.equal(['Creating', 'Suspect', 'Lost']);
  });

  it('name node and both states when a move is refused', () => {
    expect(() => assertMove('web', 'Stopped', 'Running')).to.throw('node web is Stopped and cannot become Running');
  });

  it('that are passing are waited for: nobody is sent to start a node that is being started', async () => {
    const spec = { command: ['true'], tty: false, columns: 80, rows: 24, env: {}, uid: 0, workingDir: '/' };
    const said: Partial<Record<NodeRecord['status'], RegExp>> = {
      Creating: /^node web is Creating; it is being started; wait until nexus node ls shows it Running$/,
      Stopping: /is being stopped; when it is Stopped, start it with: nexus node start web$/,
      Stopped: /^node web is Stopped; start it with: nexus node start web$/,
      Failed: /^node web is Failed; start it with: nexus node start web$/,
      Removing: /is being removed, use another node$/,
    };
    for (const status of NODE_STATUSES.filter((candidate) => !isListening(candidate))) {
      const bench = await NodeBench.open([{ ...nodeRecord('web', 0), status }]);
      try {
        const refused = await errorOf(() => bench.service.exec('web', spec));
        expect(inCommandWords(refused), status).to.match(said[status] ?? /^never$/);
      } finally {
        await bench.dispose();
      }
    }
  });
});

describe('liveness', () => {
  const limits = { suspectAfterMs: 3000, lostAfterMs: 10_000 };

  it('turns silence into Suspect and then Lost, exactly at the limits', () => {
    expect(verdict('Running', 2999, limits)).to.equal(undefined);
    expect(verdict('Running', 3000, limits)).to.equal('Suspect');
    expect(verdict('Suspect', 9999, limits)).to.equal(undefined);
    expect(verdict('Suspect', 10_000, limits)).to.equal('Lost');
    expect(verdict('Running', 60_000, limits)).to.equal('Lost');
  });

  it('takes a node back as soon as it is heard', () => {
    expect(verdict('Lost', 10, limits)).to.equal('Running');
    expect(verdict('Suspect', 0, limits)).to.equal('Running');
  });

  it('asks for legal moves alone, also of a node that a new controller has found Lost', () => {
    for (const status of NODE_STATUSES.filter(isListening)) {
      for (const silentForMs of [-5000, 0, 2999, 3000, 9999, 10_000, 60_000]) {
        const due = verdict(status, silentForMs, limits);
        if (due !== undefined) expect(mayMove(status, due), `${status} to ${due}`).to.equal(true);
      }
    }
  });

  it('is not given back to a Lost node by a bus that was away: its agent has to be heard', async () => {
    let nowMs = 1_000_000;
    const clock = { ...systemClock, now: () => nowMs, monotonic: () => nowMs };
    const store = new FakeStore();
    const registry = new NodeRegistry(
      store.nodes,
      new EventLog(store.events, clock, createLogger('test', 'silent'), inCommandWords),
      clock,
    );
    const { id } = await registry.reserve(1, () => record({ id: newNodeId(), name: 'web' }));
    registry.assumeHeard(id, 1000);
    const silence = (): number => nowMs - (registry.agent(id)?.heardAt ?? NaN);
    nowMs += 60_000;
    await registry.move(id, 'Lost', 'silent');
    registry.forgiveSilence(5000);
    expect(verdict('Lost', silence(), limits)).to.equal(undefined);
    registry.heard(id, AgentHeartbeat.fromPartial({ agentInstance: 'other' }));
    expect(verdict('Lost', silence(), limits)).to.equal('Running');
  });

  it('is heard of by the start that waits, even if the wait of one before it ends only now', async () => {
    const store = new FakeStore();
    const events = new EventLog(store.events, systemClock, createLogger('test', 'silent'), inCommandWords);
    const registry = new NodeRegistry(store.nodes, events, systemClock);
    const { id } = await registry.reserve(1, () => record({ id: newNodeId(), name: 'web' }));
    const heard: string[] = [];
    const endFirst = registry.onNextHeartbeat(id, () => heard.push('first'));
    const endSecond = registry.onNextHeartbeat(id, () => heard.push('second'));
    endFirst();
    registry.heard(id, AgentHeartbeat.fromPartial({ agentInstance: 'one' }));
    expect(heard).to.deep.equal(['second']);
    endSecond();
    registry.heard(id, AgentHeartbeat.fromPartial({ agentInstance: 'one' }));
    expect(heard).to.deep.equal(['second']);
  });

  it('blames the controller itself, not the agents, for a tick that came late', () => {
    expect(ownDelay(500, 500)).to.equal(0);
    expect(ownDelay(900, 500)).to.equal(0);
    expect(ownDelay(5000, 500)).to.equal(4500);
  });
});

describe('the plan of a restarted controller', () => {
  const plan = (patch: Partial<NodeRecord>, isRunning = false, isSameBoot = true): string =>
    planBoot(record(patch), isRunning, isSameBoot);

  it('adopts what lives', () => {
    for (const status of ['Running', 'Suspect', 'Lost'] as const) expect(plan({ status }, true)).to.equal('adopt');
  });

  it('fails what died meanwhile, but starts it again after a reboot of the host', () => {
    expect(plan({ status: 'Running' }, false, true)).to.equal('fail');
    expect(plan({ status: 'Running' }, false, false)).to.equal('start');
  });

  it('undoes a first creation nobody was told of and repeats a later start', () => {
    expect(plan({ status: 'Creating', receiptKey: '' })).to.equal('erase');
    expect(plan({ status: 'Creating', receiptKey: 'key' })).to.equal('start');
  });

  it('finishes stops and removals', () => {
    expect(plan({ status: 'Stopping', desired: 'stopped' })).to.equal('finish-stop');
    expect(plan({ status: 'Stopping', desired: 'running' })).to.equal('start');
    expect(plan({ status: 'Removing', desired: 'removed' }, true)).to.equal('erase');
  });

  it('starts what `down` stopped and leaves what a person stopped', () => {
    expect(plan({ status: 'Stopped', desired: 'running' })).to.equal('start');
    expect(plan({ status: 'Stopped', desired: 'stopped' })).to.equal('leave');
    expect(plan({ status: 'Failed' })).to.equal('leave');
  });
});
