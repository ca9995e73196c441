import { expect } from 'chai';
import fc from 'fast-check';
import { MetricsHistory } from '../../controller/metrics/history.js';
import { sampleOf } from '../../controller/metrics/sample.js';
import { Series } from '../../controller/metrics/series.js';
import { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeId } from '../../shared/ids.js';

const NODE = 'n1' as NodeId;

const report = (atMs: number, values: Partial<Record<'cpuUsageUsec' | 'networkRxBytes', number>> = {}): AgentReport =>
  AgentReport.fromPartial({
    atMs: BigInt(atMs),
    cpuUsageUsec: BigInt(values.cpuUsageUsec ?? 0),
    networkRxBytes: BigInt(values.networkRxBytes ?? 0),
  });

describe('metrics of a node', () => {
  it('count 100 percent for each core that is busy', () => {
    const first = sampleOf(undefined, report(0, { cpuUsageUsec: 1_000_000 }));
    expect(first.cpuPercent).to.equal(undefined);
    expect(sampleOf(first, report(5000, { cpuUsageUsec: 3_500_000 })).cpuPercent).to.equal(50);
    expect(sampleOf(first, report(5000, { cpuUsageUsec: 21_000_000 })).cpuPercent).to.equal(400);
  });

  it('count what a counter has that began again at zero', () => {
    const before = sampleOf(undefined, report(0, { cpuUsageUsec: 90_000_000, networkRxBytes: 5000 }));
    const after = sampleOf(before, report(10_000, { cpuUsageUsec: 1_000_000, networkRxBytes: 200 }));
    expect(after).to.include({ cpuPercent: 10, networkRxRate: 20 });
  });

  it('keep the last hour, and of it the newest', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 0, max: 70 }),
        (most, count, since) => {
          const series = new Series(most);
          for (let at = 0; at < count; at += 1) series.add(sampleOf(undefined, report(at)));
          const expected = Array.from({ length: count }, (_, at) => at).slice(-most);
          expect(series.since(since).map(({ atMs }) => atMs)).to.deep.equal(expected.filter((at) => at >= since));
          expect(series.latest()?.atMs).to.equal(expected.at(-1));
        },
      ),
    );
  });

  it('are heard once each, and forgotten with their node', () => {
    const history = new MetricsHistory();
    const heard: number[] = [];
    const stop = history.listen((_, { atMs }) => heard.push(atMs));
    history.add(NODE, report(10));
    history.add(NODE, report(10));
    history.add(NODE, report(5));
    history.add(NODE, report(20));
    stop();
    history.add(NODE, report(30));
    expect(heard).to.deep.equal([10, 20]);
    expect(history.since(NODE, 15).map(({ atMs }) => atMs)).to.deep.equal([20, 30]);
    history.keepOnly(new Set([NODE]));
    expect(history.latest(NODE)?.atMs).to.equal(30);
    history.keepOnly(new Set());
    expect(history.latest(NODE)).to.equal(undefined);
  });
});
