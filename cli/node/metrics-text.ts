/** Formats what nodes use as text. Pure. */
import type { NodeMetrics } from '../../shared/gen/nexus/v1/metrics.js';
import type { Node } from '../../shared/gen/nexus/v1/node.js';
import { formatAge, formatBytes } from '../terminal/format.js';
import { facts, table } from '../terminal/output.js';

const bytes = (value: bigint | number): string => formatBytes(Math.round(Number(value)));
/** Rates are unknown before the second report. */
export const percent = (value: number | undefined): string => value?.toFixed(1) ?? '-';
const rate = (value: number | undefined): string => (value === undefined ? '-' : bytes(value));
/** A limit of 0 means that there is none. */
export const limited = (value: bigint | number, limit: bigint | number): string =>
  Number(limit) === 0 ? bytes(value) : `${bytes(value)} / ${bytes(limit)}`;

export function metricsText(metrics: NodeMetrics, width: number): string {
  return facts(
    [
      ['node', `${metrics.node}  ${metrics.nodeId}`],
      ['taken', `${metrics.at} (${formatAge(metrics.at)} ago)`],
      ['cpu', `${percent(metrics.cpuPercent)} % of a core, ${metrics.cpuSeconds.toFixed(1)} s in all`],
      [
        'memory',
        `${limited(metrics.memoryWorkingSet, metrics.memoryLimit)} in use, ${bytes(metrics.memoryUsage)} with page cache`,
      ],
      ['processes', String(metrics.pids)],
      [
        'volume',
        `${limited(metrics.volumeUsed, metrics.volumeTotal)} used, ${bytes(metrics.volumeFree)} can be written`,
      ],
      ['received', `${bytes(metrics.networkRx)}, ${rate(metrics.networkRxRate)}/s`],
      ['sent', `${bytes(metrics.networkTx)}, ${rate(metrics.networkTxRate)}/s`],
      ['chunks', `${metrics.chunks}, ${bytes(metrics.chunkBytes)}`],
      ['transfers', `${metrics.chunkReads} read, ${metrics.chunkWrites} written, ${metrics.checksumFailures} damaged`],
    ],
    width,
  );
}

export function historyText(history: readonly NodeMetrics[], width: number): string {
  if (history.length === 0) return 'nothing has been reported in that time; a node reports every 5 s';
  return table(
    [
      { title: 'AT' },
      { title: 'CPU%', right: true },
      { title: 'MEM', right: true },
      { title: 'PIDS', leaveOut: 1, right: true },
      { title: 'VOLUME', leaveOut: 5, right: true },
      { title: 'RX/s', leaveOut: 3, right: true },
      { title: 'TX/s', leaveOut: 4, right: true },
      { title: 'CHUNKS', leaveOut: 2, right: true },
    ],
    history.map((one) => [
      one.at,
      percent(one.cpuPercent),
      bytes(one.memoryWorkingSet),
      String(one.pids),
      bytes(one.volumeUsed),
      rate(one.networkRxRate),
      rate(one.networkTxRate),
      String(one.chunks),
    ]),
    width,
  );
}

/** Sort keys of `nexus top`; all but the name sort the largest first. */
export const SORT_KEYS = ['name', 'cpu', 'mem', 'pids', 'volume', 'net', 'chunks'] as const;
export type SortKey = (typeof SORT_KEYS)[number];

/** Sorts unknown values last. */
const UNKNOWN = -1;

const weightOf: Readonly<Record<Exclude<SortKey, 'name'>, (metrics: NodeMetrics) => number>> = {
  cpu: (metrics) => metrics.cpuPercent ?? UNKNOWN,
  mem: (metrics) => Number(metrics.memoryWorkingSet),
  pids: (metrics) => Number(metrics.pids),
  volume: (metrics) => Number(metrics.volumeUsed),
  net: ({ networkRxRate: received = UNKNOWN, networkTxRate: sent = 0 }) => received + sent,
  chunks: (metrics) => Number(metrics.chunks),
};

export interface TopRow {
  readonly node: Node;
  /** Undefined: the node is down or Lost, or has not reported yet. */
  readonly metrics: NodeMetrics | undefined;
}

export function sortRows(rows: readonly TopRow[], key: SortKey): TopRow[] {
  const byName = (a: TopRow, b: TopRow): number => (a.node.name < b.node.name ? -1 : 1);
  if (key === 'name') return [...rows].sort(byName);
  const weight = ({ metrics }: TopRow): number => (metrics === undefined ? UNKNOWN : weightOf[key](metrics));
  return [...rows].sort((a, b) => weight(b) - weight(a) || byName(a, b));
}

export function topText(rows: readonly TopRow[], width: number): string {
  if (rows.length === 0) return 'no nodes; make one with: nexus node create NAME --storage 1G';
  return table(
    [
      { title: 'NAME', least: 16, flexible: 'middle' },
      { title: 'STATUS' },
      { title: 'CPU%', right: true },
      { title: 'MEM', right: true },
      { title: 'PIDS', leaveOut: 1, right: true },
      { title: 'VOLUME', leaveOut: 5, right: true },
      { title: 'RX/s', leaveOut: 3, right: true },
      { title: 'TX/s', leaveOut: 4, right: true },
      { title: 'CHUNKS', leaveOut: 2, right: true },
    ],
    rows.map(({ node, metrics }) => [
      node.name,
      node.cordoned ? `${node.status},cordoned` : node.status,
      ...(metrics === undefined
        ? ['-', '-', '-', '-', '-', '-', '-']
        : [
            percent(metrics.cpuPercent),
            limited(metrics.memoryWorkingSet, metrics.memoryLimit),
            String(metrics.pids),
            limited(metrics.volumeUsed, metrics.volumeTotal),
            rate(metrics.networkRxRate),
            rate(metrics.networkTxRate),
            String(metrics.chunks),
          ]),
    ]),
    width,
  );
}
