/** Nodes as text. */
import { NexusError } from '../../shared/errors.js';
import type { Node } from '../../shared/gen/nexus/v1/node.js';
import { formatAge, formatBytes } from '../terminal/format.js';
import { limited } from './metrics-text.js';
import { facts, table, type Column } from '../terminal/output.js';

/** A message field that the controller always sets. */
export function expectNode(node: Node | undefined): Node {
  if (node === undefined) throw new NexusError('internal', 'the controller answered without a node');
  return node;
}

const COLUMNS: readonly Column[] = [
  { title: 'NAME', least: 24, flexible: 'middle' },
  { title: 'ID', leaveOut: 6 },
  { title: 'STATUS' },
  { title: 'IP', leaveOut: 5 },
  { title: 'MEM', leaveOut: 4, right: true },
  { title: 'CPU', leaveOut: 2, right: true },
  { title: 'STORAGE', leaveOut: 3, right: true },
  { title: 'AGE', leaveOut: 1, right: true },
  { title: 'REASON', least: 30, flexible: 'words' },
];

export function nodeTable(nodes: readonly Node[], width: number): string {
  if (nodes.length === 0) return 'no nodes; create one with: nexus node create NAME --storage 1G';
  const hasReason = nodes.some((node) => reasonText(node) !== '');
  const columns = hasReason ? COLUMNS : COLUMNS.slice(0, -1);
  return table(
    columns,
    nodes.map((node) => row(node).slice(0, columns.length)),
    width,
  );
}

const row = (node: Node): string[] => [
  node.name,
  node.id,
  statusText(node),
  node.ip,
  `${node.memoryMb}M`,
  String(node.cpuShares),
  formatBytes(Number(node.storageSize)),
  formatAge(node.createdAt),
  reasonText(node),
];

const reasonText = (node: Node): string => (node.statusReason === '' ? node.volumeReason : node.statusReason);

const statusText = (node: Node): string => {
  const { status, cordoned, volumeState } = node;
  const isVolumeWell = volumeState === '' || volumeState === 'ok';
  return [status, ...(cordoned ? ['cordoned'] : []), ...(isVolumeWell ? [] : [`volume ${volumeState}`])].join(',');
};

export function nodeFacts(node: Node, width: number): string {
  const { report } = node;
  const rows: (readonly [string, string])[] = [
    ['name', node.name],
    ['id', node.id],
    ['status', node.statusReason === '' ? statusText(node) : `${statusText(node)} (${node.statusReason})`],
    ['address', node.ip],
    ['data', node.dataAddress],
    ['memory', `${node.memoryMb}M`],
    ['cpu weight', String(node.cpuShares)],
    ['pids limit', String(node.pidsLimit)],
    ['storage', formatBytes(Number(node.storageSize))],
    ['image', node.image],
    [
      'labels',
      Object.entries(node.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ') || '-',
    ],
    ['created', node.createdAt],
  ];
  if (node.pid > 0)
    rows.push(['pid', String(node.pid)], ['agent', `${node.agentVersion} since ${node.agentStartedAt}`]);
  if (report !== undefined) {
    rows.push(
      ['memory used', limited(report.memoryUsageBytes, report.memoryLimitBytes)],
      ['volume', node.volumeReason === '' ? node.volumeState : `${node.volumeState} (${node.volumeReason})`],
      [
        'volume used',
        `${formatBytes(Number(report.volumeUsedBytes))}, free ${formatBytes(Number(report.volumeFreeBytes))}`,
      ],
      ...(report.volumeInodes === 0n
        ? []
        : [
            [
              'inodes',
              `${report.volumeInodes - report.volumeFreeInodes} used, ${report.volumeFreeInodes} free`,
            ] as const,
          ]),
      ['chunks', `${report.chunks} (${formatBytes(Number(report.chunkBytes))})`],
    );
  }
  return facts(rows, width);
}
