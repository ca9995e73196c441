/**
 * The page that lists every metric, from the table of node fields and from what gateway and agent write for Prometheus.
 *
 *   npm run sample        writes docs/operations/metric-names.md
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { prometheusText } from '../agent/prometheus.js';
import { clusterText, logText } from '../gateway/doors/metrics/cluster.js';
import { HttpMetrics } from '../gateway/http/metrics.js';
import { GetClusterMetricsResponse } from '../shared/gen/nexus/v1/metrics.js';
import { figuresOf, nodeFields } from '../shared/metrics/node-fields.js';
import { AgentReport } from '../shared/gen/nexus/v1/agent.js';
import { snakeCase } from '../shared/rpc/shapes.js';

export const METRICS_PAGE = fileURLToPath(new URL('../docs/operations/metric-names.md', import.meta.url));

/** One node, and one disk that counts inodes: what is absent has no name in the text. */
const EXAMPLE = GetClusterMetricsResponse.fromPartial({
  nodes: [{ name: 'web-1', status: 'Running' }],
  hostDisks: [{ places: ['state'], totalInodes: 1n }],
});

export async function metricsPage(): Promise<string> {
  const agent = prometheusText({
    node: 'web-1',
    usage: { atMs: 0, figures: figuresOf(AgentReport.fromPartial({})), condition: { state: 'ok', reason: '' } },
    activeTransfers: 0,
    uptimeSeconds: 0,
  });
  const gateway = await new HttpMetrics({ closed: 0 }).registry.metrics();
  const figures = new Set(nodeFields().flatMap(({ name }) => [`nexus_node_${name}`, `nexus_agent_${name}`]));
  const besides = (text: string): string[][] =>
    familiesOf(text)
      .filter(([name = '']) => !figures.has(name))
      .map(([name = '', ...rest]) => [code(name), ...rest]);
  return `# Metrics by name

Made by \`npm run sample\` from \`shared/metrics/node-fields.ts\` and from the text that Prometheus is given; a test compares them.
How to scrape is in [monitoring](monitoring.md), how a figure gets there in [metrics](../internals/metrics.md).

## Figures of a node

An agent reports them every 5 seconds. In Prometheus they are \`nexus_node_NAME\`, from the gateway, as the controller
received them, and \`nexus_agent_NAME\`, from each agent. \`column\` is the one in \`nexus top\` and \`nexus metrics --since\`.

${table(
  ['REST, `-o json`', 'NAME in Prometheus', 'type', 'unit', 'column', 'what'],
  nodeFields().flatMap((field) => [
    [
      code(snakeCase(field.message)),
      field.family === undefined ? code(field.name) : `${code(field.name)} (agent), in ${code(field.family)} (gateway)`,
      field.kind,
      field.unit ?? '',
      field.column?.title ?? '',
      field.help,
    ],
    ...(field.rate === undefined
      ? []
      : [
          [
            code(snakeCase(field.rate.message)),
            '',
            'rate',
            field.rate.unit === 'percent' ? 'percent of a core' : `${field.rate.unit} per second`,
            field.rate.column.title,
            `Increase of ${code(snakeCase(field.message))} since the report before; absent in the first.`,
          ],
        ]),
  ]),
)}

## The cluster

${table(['name', 'type', 'what'], besides(clusterText(EXAMPLE) + logText(EXAMPLE, 0)))}

## Of each agent, besides

${table(['name', 'type', 'what'], besides(agent))}

## Of the gateway

And the usual \`process_*\` and \`nodejs_*\`.

${table(
  ['name', 'type', 'what'],
  besides(gateway).filter(([name = '']) => name.startsWith('`nexus_')),
)}
`;
}

const code = (text: string): string => `\`${text}\``;

/** Name, type and help of each family in a text for Prometheus. */
function familiesOf(text: string): string[][] {
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]));
  return [...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name = '', help = '']) => [
    name,
    types.get(name) ?? '',
    help,
  ]);
}

/** As prettier writes it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...all.map((row) => (row[at] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(METRICS_PAGE, await metricsPage());
