/** Figures of a node: handed out while it is heard, watched until it is not, and shown without what is not known. */
import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { EventLog } from '../../controller/events/log.js';
import { expectFigures, latestFigures } from '../../controller/metrics/figures.js';
import { MetricsHistory } from '../../controller/metrics/history.js';
import { watchFigures } from '../../controller/metrics/watch.js';
import { NodeRegistry } from '../../controller/node/registry.js';
import { NODE_STATUSES, type NodeStatus } from '../../controller/node/state.js';
import { metricsShape } from '../../controller/edge/services/metrics.js';
import { nodeShape } from '../../controller/edge/services/node/shapes.js';
import { FakeStore } from '../fakes/store.js';
import type { NodeRecord } from '../../controller/store/port/store.js';
import { historyText, metricsText, sortRows, topText } from '../../cli/node/metrics-text.js';
import { nodeLines } from '../../cli/cluster/status-page.js';
import { systemClock } from '../../shared/async/clock.js';
import { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import { createLogger } from '../../shared/log.js';
import { MIB } from '../../shared/limits.js';
import { plainShape } from '../../shared/rpc/shapes.js';
import { errorOf } from '../support/codes.js';
import { nodeRecord } from '../support/records.js';

const report = (atMs: number): AgentReport =>
  AgentReport.fromPartial({
    atMs: BigInt(atMs),
    cpuUsageUsec: BigInt(atMs) * 500n,
    memoryWorkingSetBytes: BigInt(57.5 * MIB),
  });

const hosting = { addressOf: ({ ip }: { readonly ip: string }) => `${ip}:7400` };

describe('figures of a node', () => {
  let history: MetricsHistory;
  let registry: NodeRegistry;
  let events: EventLog;
  let node: NodeRecord;

  beforeEach(async () => {
    const store = new FakeStore();
    events = new EventLog(store.events, systemClock, createLogger('test', 'silent'), inCommandWords);
    registry = new NodeRegistry(store.nodes, events, systemClock);
    history = new MetricsHistory();
    node = await registry.reserve(1, (slot) => ({ ...nodeRecord('web-1', slot), status: 'Running' }));
    registry.assumeHeard(node.id, 1000);
    for (const atMs of [1000, 6000]) {
      history.add(node.id, report(atMs));
      registry.reported(node.id, report(atMs));
    }
  });

  for (const status of NODE_STATUSES) {
    const isThere = status === 'Running' || status === 'Suspect';
    it(`are ${isThere ? '' : 'not '}handed out while it is ${status}`, async () => {
      const now = { ...node, status };
      expect(latestFigures(history, now)?.atMs).to.equal(isThere ? 6000 : undefined);
      expect(nodeShape(now, registry.agent(node.id), 0, hosting).report !== undefined).to.equal(isThere);
      if (isThere) return;
      const refusal = await errorOf(() => expectFigures(history, now));
      expect(refusal.code).to.equal('failed_precondition');
      expect(inCommandWords(refusal)).to.match(
        new RegExp(`^node web-1 is ${status} and .*nexus node (start|restart|ls)`),
      );
    });
  }

  interface Watch {
    readonly seen: number[];
    readonly end: AbortController;
    readonly ended: Promise<void>;
  }

  function watch(reference: string): Watch {
    const seen: number[] = [];
    const end = new AbortController();
    const send = (_node: NodeRecord, { atMs }: { atMs: number }): Promise<void> => {
      seen.push(atMs);
      return Promise.resolve();
    };
    const ended = watchFigures({ metrics: history, registry, events }, { reference, signal: end.signal, send });
    // Whoever looks at it does so later.
    ended.catch(() => undefined);
    return { seen, end, ended };
  }

  for (const moves of [['Stopping', 'Stopped'], ['Lost'], ['Failed']] as const satisfies readonly NodeStatus[][]) {
    const status = moves.at(-1) ?? '';
    it(`are no longer watched when it is ${status}, and not at all from then on`, async () => {
      const { seen, ended } = watch('web-1');
      history.add(node.id, report(11_000));
      await new Promise(setImmediate);
      for (const move of moves) await registry.move(node.id, move, '');
      expect((await errorOf(() => ended)).message).to.include(`node web-1 is ${status} and `);
      expect(seen).to.deep.equal([11_000]);
      const { message } = await errorOf(() => watch('web-1').ended);
      expect(message).to.equal((await errorOf(() => expectFigures(history, registry.expect(node.id)))).message);
    });
  }

  it('are watched until it is removed, which is told as to one who asks once', async () => {
    const [one, all] = [watch('web-1'), watch('')];
    await registry.move(node.id, 'Removing', '');
    await new Promise(setImmediate);
    await registry.remove(node.id);
    await events.append('node.removed', node.name, 'node web-1 was removed');
    const refusal = await errorOf(() => one.ended);
    expect(refusal).to.include({ code: 'not_found' });
    expect(refusal.message).to.equal((await errorOf(() => registry.resolve('web-1'))).message);
    all.end.abort();
    await all.ended;
  });

  it('have no rates before the second report, in words and in JSON, and no limit that is none', () => {
    const samples = history.since(node.id, 0);
    const [first, second] = samples.map((sample) => metricsShape(node, sample));
    if (first === undefined || second === undefined) throw new Error('two samples were added');
    expect(JSON.parse(JSON.stringify(plainShape(first)))).not.to.have.any.keys(
      'cpu_percent',
      'network_rx_rate',
      'network_tx_rate',
    );
    expect(plainShape(second)).to.include({ cpu_percent: 50, network_rx_rate: 0, network_tx_rate: 0 });
    expect(metricsText(first, Number.POSITIVE_INFINITY))
      .to.match(/^cpu: +- % of a core, 0\.5 s in all$/m)
      .and.match(/^received: .*, -\/s$/m);
    expect(historyText([first, second], 200)).to.match(/Z +- +57\.5 MB +0 +0 B +- +- +0$/m);
    const shown = nodeShape(node, undefined, undefined, hosting);
    const rows = [first, second].map((metrics) => ({ node: shown, metrics }));
    const [unknown, known] = [topText(rows.slice(0, 1), 200), topText(rows.slice(1), 200)];
    expect(unknown).to.match(/Running,cordoned +- +57\.5 MB +0 +0 B +- +- +0$/m);
    expect(known).to.match(/Running,cordoned +50\.0 +57\.5 MB +0 +0 B +0 B +0 B +0$/m);
    expect(sortRows(rows, 'cpu').map(({ metrics }) => metrics)).to.deep.equal([second, first]);
    expect(sortRows(rows, 'net').map(({ metrics }) => metrics)).to.deep.equal([second, first]);
    const page = nodeLines(rows.slice(0, 1), 200).join('\n');
    expect(page)
      .to.match(/ - +57\.5 MB +0 B +0$/m)
      .and.not.include('/ 0 B');
    const limited = { ...second, memoryLimit: BigInt(256 * MIB) };
    expect(nodeLines([{ node: shown, metrics: limited }], 200).join('\n')).to.include('57.5 MB / 256 MB');
  });
});
