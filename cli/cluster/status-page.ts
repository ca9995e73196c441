/** The lower half of `nexus status`: each node, what goes on in the background, and what happened last. */
import type { Event, GetStatusResponse } from '../../shared/gen/nexus/v1/cluster.js';
import type { NodeMetrics } from '../../shared/gen/nexus/v1/metrics.js';
import type { Node } from '../../shared/gen/nexus/v1/node.js';
import type { Controller } from '../connect/connection.js';
import { formatAge } from '../terminal/format.js';
import { limited, percent, type TopRow } from '../node/metrics-text.js';
import { table } from '../terminal/output.js';

/** A page has room for so many; the rest is in `nexus node ls` and `nexus events`. */
const NODES_SHOWN = 20;
const EVENTS_SHOWN = 5;

export async function lastEvents({ cluster, messages }: Controller): Promise<Event[]> {
  const found: Event[] = [];
  const stream = cluster.watchEvents({ follow: false, afterId: 0n, last: EVENTS_SHOWN });
  for await (const { event } of messages(stream)) if (event !== undefined) found.push(event);
  return found;
}

/** Nothing where nothing goes on. */
export function upkeepFacts({ repair, storage }: GetStatusResponse): (readonly [string, string])[] {
  const parts = [
    ...(repair !== undefined && repair.running > 0 ? [`${repair.running} copies are being made`] : []),
    ...(repair !== undefined && repair.scrubbingNodes > 0 ? [`${repair.scrubbingNodes} node(s) read theirs back`] : []),
    ...(repair !== undefined && repair.orphanChunks > 0n ? [`${repair.orphanChunks} chunk(s) belong to no file`] : []),
    ...(storage !== undefined && storage.pendingDeletes > 0n ? [`${storage.pendingDeletes} deletion(s) wait`] : []),
  ];
  return parts.length === 0 ? [] : [['upkeep', parts.join(', ')]];
}

/** Those that need a look come first. */
export function nodeLines(nodes: readonly TopRow[], width: number): string[] {
  if (nodes.length === 0) return ['', 'no nodes; create one with: nexus node create NAME --storage 1G'];
  const sorted = [...nodes].sort(
    ({ node: a }, { node: b }) => Number(isWell(a)) - Number(isWell(b)) || (a.name < b.name ? -1 : 1),
  );
  const shown = sorted.slice(0, NODES_SHOWN);
  const columns = [
    { title: 'NODE', least: 24, flexible: 'middle' },
    { title: 'STATUS' },
    { title: 'IP', leaveOut: 1 },
    { title: 'CPU%', leaveOut: 3, right: true },
    { title: 'MEM', leaveOut: 4, right: true },
    { title: 'VOLUME', leaveOut: 5, right: true },
    { title: 'CHUNKS', leaveOut: 2, right: true },
  ] as const;
  const rest = nodes.length - shown.length;
  return [
    '',
    table(columns, shown.map(nodeRow), width),
    ...(rest === 0 ? [] : [`and ${rest} more; see nexus node ls`]),
  ];
}

const isWell = (node: Node): boolean => node.status === 'Running' && !node.cordoned;

const nodeRow = ({ node, metrics }: TopRow): string[] => [
  node.name,
  [node.status, ...(node.cordoned ? ['cordoned'] : []), ...(node.draining ? ['draining'] : [])].join(','),
  node.ip,
  ...(metrics === undefined ? ['-', '-', '-', '-'] : usageOf(metrics)),
];

const usageOf = (metrics: NodeMetrics): string[] => [
  percent(metrics.cpuPercent),
  limited(metrics.memoryWorkingSet, metrics.memoryLimit),
  limited(metrics.volumeUsed, metrics.volumeTotal),
  String(metrics.chunks),
];

export function eventLines(events: readonly Event[], width: number): string[] {
  if (events.length === 0) return [];
  const columns = [
    { title: 'AGO', right: true },
    { title: 'EVENT', leaveOut: 1 },
    { title: 'MESSAGE', least: 40, flexible: 'words' },
  ] as const;
  return [
    '',
    table(
      columns,
      events.map(({ at, type, message }) => [formatAge(at), type, message]),
      width,
    ),
  ];
}
