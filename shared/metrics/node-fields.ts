/**
 * What a node is measured by: one entry for each figure, from which follow the agent's report and page, the controller's
 * samples and answers, the gateway's series, the columns of `nexus top` and `nexus metrics`, and the page of metrics in
 * docs/. Where a message is made of it, the compiler checks that it has a field for every entry, and an entry for every
 * field. (The agent loads this file: the types of `NodeMetrics` would bring gRPC along.)
 */
import type { AgentReport } from '../gen/nexus/v1/agent.js';

/** A column of tables of nodes; its place is the entry's place in the table of fields. */
export interface Column<Message extends string = string> {
  readonly title: string;
  /** The higher, the sooner a narrow terminal goes without it; absent: always shown. */
  readonly leaveOut?: number;
  /** The figure that bounds this one, shown beside it where there is room. */
  readonly limit?: Message;
}

export interface NodeField<Message extends string = string> {
  /** Name of the figure in `AgentReport` and in samples: the reading as it is. */
  readonly report: keyof AgentReport;
  /** Name in `NodeMetrics`, and so in REST and `-o json`. A promise to scripts. */
  readonly message: Message;
  /** Name in Prometheus, behind `nexus_node_` (from the controller) and `nexus_agent_` (from the agent). A promise. */
  readonly name: string;
  /** Unit outside of reports; none: a count. */
  readonly unit?: 'bytes' | 'seconds';
  /** Readings in one unit; 1 unless given. */
  readonly perUnit?: number;
  readonly kind: 'gauge' | 'counter';
  readonly help: string;
  readonly column?: Column<Message>;
  /** Group ('': none) and name in the agent's page /inspect, as the reading is. A promise to scripts. */
  readonly inspect?: readonly [group: string, name: string];
  /** What follows from two reports: the increase in a second, divided by `per`. */
  readonly rate?: {
    readonly message: Message;
    readonly unit: 'percent' | 'bytes';
    readonly per: number;
    readonly column: Column<Message>;
  };
  /** The cluster's series are part of this family, which has those of other processes, too. */
  readonly family?: string;
}

/** In the order of tables and of series. */
export const NODE_FIELDS = [
  {
    report: 'cpuUsageUsec',
    message: 'cpuSeconds',
    name: 'cpu_seconds_total',
    unit: 'seconds',
    perUnit: 1e6,
    kind: 'counter',
    help: 'CPU time of all processes of the node.',
    inspect: ['', 'cpu_usage_usec'],
    rate: { message: 'cpuPercent', unit: 'percent', per: 10_000, column: { title: 'CPU%' } },
  },
  {
    report: 'memoryUsageBytes',
    message: 'memoryUsage',
    name: 'memory_usage_bytes',
    unit: 'bytes',
    kind: 'gauge',
    help: 'Memory of all processes, page cache included.',
    inspect: ['memory', 'usage_bytes'],
  },
  {
    report: 'memoryWorkingSetBytes',
    message: 'memoryWorkingSet',
    name: 'memory_working_set_bytes',
    unit: 'bytes',
    kind: 'gauge',
    help: 'Memory without the page cache that can be dropped.',
    inspect: ['memory', 'working_set_bytes'],
    column: { title: 'MEM', limit: 'memoryLimit' },
  },
  {
    report: 'memoryLimitBytes',
    message: 'memoryLimit',
    name: 'memory_limit_bytes',
    unit: 'bytes',
    kind: 'gauge',
    help: 'Memory limit; 0: none.',
    inspect: ['memory', 'limit_bytes'],
  },
  {
    report: 'pids',
    message: 'pids',
    name: 'pids',
    kind: 'gauge',
    help: 'Processes and threads.',
    inspect: ['', 'pids'],
    column: { title: 'PIDS', leaveOut: 1 },
  },
  {
    report: 'volumeTotalBytes',
    message: 'volumeTotal',
    name: 'volume_size_bytes',
    unit: 'bytes',
    kind: 'gauge',
    help: 'Size of the volume.',
    inspect: ['volume', 'total_bytes'],
  },
  {
    report: 'volumeUsedBytes',
    message: 'volumeUsed',
    name: 'volume_used_bytes',
    unit: 'bytes',
    kind: 'gauge',
    help: 'Bytes in use on the volume.',
    inspect: ['volume', 'used_bytes'],
    column: { title: 'VOLUME', leaveOut: 5, limit: 'volumeTotal' },
  },
  {
    report: 'volumeFreeBytes',
    message: 'volumeFree',
    name: 'volume_free_bytes',
    unit: 'bytes',
    kind: 'gauge',
    help: 'Bytes that can still be written to it.',
    inspect: ['volume', 'free_bytes'],
  },
  {
    report: 'volumeInodes',
    message: 'volumeInodes',
    name: 'volume_inodes',
    kind: 'gauge',
    help: 'Inodes of the volume; 0: they are not counted.',
    inspect: ['volume', 'inodes'],
  },
  {
    report: 'volumeFreeInodes',
    message: 'volumeFreeInodes',
    name: 'volume_free_inodes',
    kind: 'gauge',
    help: 'Inodes that can still be used.',
    inspect: ['volume', 'free_inodes'],
  },
  {
    report: 'networkRxBytes',
    message: 'networkRx',
    name: 'network_receive_bytes_total',
    unit: 'bytes',
    kind: 'counter',
    help: 'Bytes received.',
    inspect: ['network', 'rx_bytes'],
    rate: { message: 'networkRxRate', unit: 'bytes', per: 1, column: { title: 'RX/s', leaveOut: 3 } },
  },
  {
    report: 'networkTxBytes',
    message: 'networkTx',
    name: 'network_transmit_bytes_total',
    unit: 'bytes',
    kind: 'counter',
    help: 'Bytes sent.',
    inspect: ['network', 'tx_bytes'],
    rate: { message: 'networkTxRate', unit: 'bytes', per: 1, column: { title: 'TX/s', leaveOut: 4 } },
  },
  {
    report: 'chunks',
    message: 'chunks',
    name: 'chunks',
    kind: 'gauge',
    help: 'Chunks stored.',
    inspect: ['chunks', 'count'],
    column: { title: 'CHUNKS', leaveOut: 2 },
  },
  {
    report: 'chunkBytes',
    message: 'chunkBytes',
    name: 'chunk_bytes',
    unit: 'bytes',
    kind: 'gauge',
    help: 'Bytes in these chunks.',
    inspect: ['chunks', 'bytes'],
  },
  {
    report: 'chunkReads',
    message: 'chunkReads',
    name: 'chunk_reads_total',
    kind: 'counter',
    help: 'Chunks read since the agent started.',
    inspect: ['chunks', 'reads'],
  },
  {
    report: 'chunkWrites',
    message: 'chunkWrites',
    name: 'chunk_writes_total',
    kind: 'counter',
    help: 'Chunks written since the agent started.',
    inspect: ['chunks', 'writes'],
  },
  {
    report: 'checksumFailures',
    message: 'checksumFailures',
    name: 'chunk_checksum_failures_total',
    kind: 'counter',
    help: 'Chunks whose content was not what it should be.',
    inspect: ['chunks', 'checksum_failures'],
  },
  {
    report: 'logLinesDropped',
    message: 'logLinesDropped',
    name: 'log_lines_dropped_total',
    kind: 'counter',
    help: 'Lines of the log that could not be written.',
    family: 'nexus_log_lines_dropped_total',
  },
] as const satisfies readonly NodeField[];

type Field = (typeof NODE_FIELDS)[number];
type Fraction = Extract<Field, { readonly perUnit: number }>;
type Rate = Extract<Field, { readonly rate: object }>['rate'];

/** Names of the readings. */
export type NodeFigure = Field['report'];
/** Names of what follows from two reports. */
export type NodeRate = Rate['message'];
/** Names in `NodeMetrics`. */
export type MeasuredName = Field['message'] | NodeRate;
/** Readings of a node; a counter's only rises while what counts it lives. */
export type NodeFigures = Readonly<Record<NodeFigure, number>>;
/** Rates are undefined in the first report of a node that is received: 0 would mean that it is idle. */
export type NodeRates = Readonly<Record<NodeRate, number | undefined>>;

/** The part of `NodeMetrics` that the table says. */
type Measured = Record<Exclude<Field, Fraction>['message'], bigint> &
  Record<Fraction['message'], number> &
  Record<NodeRate, number | undefined>;

/** The fields, each typed with all that an entry may have. */
export const nodeFields = (): readonly NodeField<MeasuredName>[] => NODE_FIELDS;

/** The figures as the agent's message has them. */
export const reportedFigures = (figures: NodeFigures): Record<NodeFigure, bigint> =>
  Object.fromEntries(NODE_FIELDS.map(({ report }) => [report, BigInt(figures[report])])) as Record<NodeFigure, bigint>;

/** The figures of an agent's message. */
export const figuresOf = (report: Readonly<Record<NodeFigure, bigint>>): NodeFigures =>
  Object.fromEntries(NODE_FIELDS.map((field) => [field.report, Number(report[field.report])])) as NodeFigures;

/** The figures as the agent's page /inspect has them, by group. */
export function inspectedFigures(figures: NodeFigures): Record<string, Record<string, number>> {
  const groups: Record<string, Record<string, number>> = {};
  for (const field of NODE_FIELDS) {
    if (!('inspect' in field)) continue;
    const [group, name] = field.inspect;
    (groups[group] ??= {})[name] = figures[field.report];
  }
  return groups;
}

/** Figures and rates as the controller answers with them, in base units. */
export function measuredShape(sample: NodeFigures & NodeRates): Measured {
  const shape: Partial<Record<MeasuredName, bigint | number | undefined>> = {};
  for (const field of NODE_FIELDS) {
    const reading = sample[field.report];
    shape[field.message] = 'perUnit' in field ? reading / field.perUnit : BigInt(reading);
    if ('rate' in field) shape[field.rate.message] = sample[field.rate.message];
  }
  return shape as Measured;
}
