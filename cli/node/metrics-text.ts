/** Formats what nodes use as text. Pure. */
import type { NodeMetrics } from '../../shared/gen/nexus/v1/metrics.js';
import type { Node } from '../../shared/gen/nexus/v1/node.js';
import { nodeFields } from '../../shared/metrics/node-fields.js';
import { formatAge, formatBytes } from '../terminal/format.js';
import { facts, table } from '../terminal/output.js';

const bytes = (value: bigint | number): string => formatBytes(Math.round(Number(value)));
/** Rates are unknown before the second report. */
export const percent = (value: number | undefined): string => value?.toFixed(1) ?? '-';
const rate = (value: number | undefined): string => (value === undefined ? '-' : bytes(value));
/** A limit of 0 means that there is none. */
export const limited = (value: bigint | number, limit: bigint | number): string =>
  Number(limit) === 0 ? bytes(value) : `${bytes(value)} / ${bytes(limit)}`;

interface ShownColumn {
  readonly title: { readonly title: string; readonly right: true; readonly leaveOut?: number };
  readonly plain: (metrics: NodeMetrics) => string;
  /** With the limit of the figure, where it has one. */
  readonly bounded: (metrics: NodeMetrics) => string;
}

type Reading = bigint | number | undefined;
const text = (unit: 'bytes' | 'seconds' | 'percent' | undefined, value: Reading): string => {
  if (value === undefined) return '-';
  if (unit === 'percent') return percent(Number(value));
  return unit === 'bytes' ? bytes(value) : String(value);
};

/** The columns that the table of fields has, for the tables of one node's history and of all nodes. */
const COLUMNS: readonly ShownColumn[] = nodeFields().flatMap((field) =>
  [field, ...(field.rate === undefined ? [] : [field.rate])].flatMap(({ column, message, unit }) => {
    if (column === undefined) return [];
    const { limit, ...title } = column;
    const plain = (metrics: NodeMetrics): string => text(unit, metrics[message]);
    const bounded =
      limit === undefined
        ? plain
        : (metrics: NodeMetrics): string => limited(metrics[message] as bigint, metrics[limit] as bigint);
    return [{ title: { ...title, right: true as const }, plain, bounded }];
  }),
);

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
  if (history.length === 0) return 'there was no report in that time; a node reports every 5 s';
  return table(
    [{ title: 'AT' }, ...COLUMNS.map(({ title }) => title)],
    history.map((one) => [one.at, ...COLUMNS.map(({ plain }) => plain(one))]),
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
  if (rows.length === 0) return 'no nodes; create one with: nexus node create NAME --storage 1G';
  return table(
    [{ title: 'NAME', least: 16, flexible: 'middle' }, { title: 'STATUS' }, ...COLUMNS.map(({ title }) => title)],
    rows.map(({ node, metrics }) => [
      node.name,
      node.cordoned ? `${node.status},cordoned` : node.status,
      ...COLUMNS.map(({ bounded }) => (metrics === undefined ? '-' : bounded(metrics))),
    ]),
    width,
  );
}
