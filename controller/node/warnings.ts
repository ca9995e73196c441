/** What an operator should know about nodes, each with what to do. Pure. */
import type { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import type { NodeRecord } from '../store/port.js';
import { hasFigures } from './state.js';

export interface WatchedNode {
  readonly record: Pick<NodeRecord, 'name' | 'status' | 'statusReason' | 'cordoned' | 'draining'>;
  /** Of its agent; undefined before the first one. */
  readonly report:
    | Pick<AgentReport, 'volumeTotalBytes' | 'volumeFreeBytes' | 'memoryWorkingSetBytes' | 'memoryLimitBytes'>
    | undefined;
}

/** Above these the next upload, or the next process, may be the one that fails. */
const FULL_VOLUME_PERCENT = 90;
const FULL_MEMORY_PERCENT = 95;

export function nodeWarnings(nodes: readonly WatchedNode[]): string[] {
  return [...nodes.flatMap((node) => [...stateWarning(node), ...roomWarnings(node)]), ...placeWarning(nodes)];
}

function stateWarning({ record: { name, status, statusReason } }: WatchedNode): string[] {
  const advice: Partial<Record<typeof status, string>> = {
    Failed: `see nexus node logs ${name}, then nexus node start ${name}`,
    Lost: `what has copies elsewhere is copied again; nexus node restart ${name} brings it back`,
    Suspect: `it may only be busy; nexus agent inspect ${name} tells whether it answers`,
  };
  const what = advice[status];
  return what === undefined ? [] : [`node ${name} is ${status}: ${statusReason}; ${what}`];
}

function roomWarnings({ record: { name, status }, report }: WatchedNode): string[] {
  if (report === undefined || !hasFigures(status)) return [];
  const warnings: string[] = [];
  const volume = percentOf(report.volumeTotalBytes - report.volumeFreeBytes, report.volumeTotalBytes);
  if (volume >= FULL_VOLUME_PERCENT) {
    warnings.push(
      `the volume of node ${name} is ${volume} % full; remove files, or add a node and nexus file rebalance; what commands in the node have written counts, too: nexus node exec ${name} -- du -h -d 3 /data`,
    );
  }
  const memory = percentOf(report.memoryWorkingSetBytes, report.memoryLimitBytes);
  if (memory >= FULL_MEMORY_PERCENT) {
    warnings.push(
      `node ${name} uses ${memory} % of its memory; give it more with nexus node resize ${name} --mem SIZE`,
    );
  }
  return warnings;
}

/** Of a cluster that has nodes, but none that takes anything. */
function placeWarning(nodes: readonly WatchedNode[]): string[] {
  const takes = ({ record }: WatchedNode): boolean =>
    record.status === 'Running' && !record.cordoned && !record.draining;
  if (nodes.length === 0 || nodes.some(takes)) return [];
  return ['no node takes new data: start or uncordon one, or add one with nexus node create'];
}

/** Whole percent, rounded down; 0 where there is no limit. */
const percentOf = (part: bigint, whole: bigint): number => (whole === 0n ? 0 : Number((part * 100n) / whole));
