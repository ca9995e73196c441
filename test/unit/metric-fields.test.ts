/** The table of figures: what is made of it is whole, and the page of metrics is as it says. */
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { prometheusText } from '../../agent/prometheus.js';
import { METRICS_PAGE, metricsPage } from '../../deploy/metrics-page.js';
import { clusterText, logText } from '../../gateway/doors/metrics/cluster.js';
import { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import { GetClusterMetricsResponse, NodeMetrics } from '../../shared/gen/nexus/v1/metrics.js';
import {
  figuresOf,
  inspectedFigures,
  measuredShape,
  nodeFields,
  NODE_FIELDS,
  reportedFigures,
  type NodeFigures,
} from '../../shared/metrics/node-fields.js';
import { PROJECT } from '../support/cluster.js';

/** Fields of the messages that are no figures: whose they are, and when. */
const NO_FIGURES = {
  report: ['atMs', 'volumeState', 'volumeReason'],
  message: ['nodeId', 'node', 'at'],
};

describe('the table of figures', () => {
  it('has every figure of the messages, each once', () => {
    const reports = nodeFields().map(({ report }) => report);
    expect([...reports, ...NO_FIGURES.report].sort()).to.deep.equal(Object.keys(AgentReport.create()).sort());
    const messages = nodeFields().flatMap(({ message, rate }) => [
      message,
      ...(rate === undefined ? [] : [rate.message]),
    ]);
    expect([...messages, ...NO_FIGURES.message].sort()).to.deep.equal(Object.keys(NodeMetrics.create()).sort());
    const names = nodeFields().map(({ name }) => name);
    expect(new Set(names).size).to.equal(names.length);
  });

  it('has names as Prometheus wants them: _total for counters alone, the unit in the name', () => {
    for (const { name, kind, unit } of nodeFields()) {
      expect(name.endsWith('_total'), name).to.equal(kind === 'counter');
      if (unit !== undefined) expect(name).to.contain(`_${unit}`);
    }
  });

  it('carries a figure unchanged from the report to every place that shows it', () => {
    const figures = Object.fromEntries(
      NODE_FIELDS.map(({ report }, at) => [report, (at + 1) * 2 ** 40]),
    ) as NodeFigures & Record<string, number>;
    expect(figuresOf(AgentReport.fromPartial(reportedFigures(figures)))).to.deep.equal(figures);
    const message = NodeMetrics.fromPartial(
      measuredShape({ ...figures, cpuPercent: undefined, networkRxRate: undefined, networkTxRate: undefined }),
    );
    const cluster = GetClusterMetricsResponse.fromPartial({
      nodes: [{ name: 'a', status: 'Running', metrics: message }],
    });
    const gateway = clusterText(cluster) + logText(cluster, 0);
    const agent = prometheusText({
      node: 'a',
      usage: { atMs: 0, figures, condition: { state: 'ok', reason: '' } },
      activeTransfers: 0,
      uptimeSeconds: 0,
    });
    for (const { report, name, perUnit = 1, family } of nodeFields()) {
      const value = (figures[report] ?? 0) / perUnit;
      expect(agent).to.contain(`\nnexus_agent_${name}{node="a"} ${value}\n`);
      expect(gateway).to.contain(
        family === undefined
          ? `\nnexus_node_${name}{node="a"} ${value}\n`
          : `\n${family}{process="agent",node="a"} ${value}\n`,
      );
    }
  });

  it('is what docs/cli.md says of `agent inspect`', () => {
    const page = readFileSync(`${PROJECT}/docs/cli.md`, 'utf8');
    const [, shape = ''] = /^\| `agent inspect` +\| `\{(.*)\}`/m.exec(page) ?? [];
    const { '': single, ...groups } = inspectedFigures(figuresOf(AgentReport.fromPartial({})));
    const names = shape.replace(/\[.*\]/, '').split(/[:,]? /);
    expect(names).to.include.members([...Object.keys(single ?? {}), ...Object.keys(groups)]);
  });

  it('is what the page of metrics says; else run: npm run sample', async () => {
    expect(readFileSync(METRICS_PAGE, 'utf8')).to.equal(await metricsPage());
  });
});
