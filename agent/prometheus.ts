/**
 * One agent's figures in the Prometheus text format: base units, `_total` for counters, the node as label. The names say
 * who counted: nexus_node_* are the same things as the controller heard of them, and both may be scraped.
 */
import { NODE_FIELDS } from '../shared/metrics/node-fields.js';
import type { NodeUsage } from './report.js';

export interface MetricsSnapshot {
  readonly node: string;
  readonly usage: NodeUsage;
  readonly activeTransfers: number;
  readonly uptimeSeconds: number;
}

interface Metric {
  readonly name: string;
  readonly kind: 'gauge' | 'counter';
  readonly help: string;
  readonly value: number;
}

export function prometheusText(snapshot: MetricsSnapshot): string {
  // A node's name is an RFC 1123 label: nothing in it needs escaping.
  const label = `{node="${snapshot.node}"}`;
  return metricsOf(snapshot)
    .map(({ name, kind, help, value }) => {
      const whole = `nexus_agent_${name}`;
      return `# HELP ${whole} ${help}\n# TYPE ${whole} ${kind}\n${whole}${label} ${value}\n`;
    })
    .join('');
}

function metricsOf({ usage, activeTransfers, uptimeSeconds }: MetricsSnapshot): Metric[] {
  const { figures, condition } = usage;
  const gauge = (name: string, help: string, value: number): Metric => ({ name, kind: 'gauge', help, value });
  return [
    gauge('uptime_seconds', 'Time since the agent started.', uptimeSeconds),
    ...NODE_FIELDS.map((field) => {
      const { name, kind, help, report } = field;
      return { name, kind, help, value: 'perUnit' in field ? figures[report] / field.perUnit : figures[report] };
    }),
    gauge(
      'volume_healthy',
      '1: the volume takes, keeps and gives data; 0: it is full, read-only, failing or hung.',
      Number(condition.state === 'ok'),
    ),
    gauge('chunk_transfers', 'Chunk transfers running.', activeTransfers),
  ];
}
