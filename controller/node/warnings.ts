/** Warnings about nodes for the operator, each with advice. Pure. */
import { someOf, warn, type Warning, type WarningKind } from '../cause/warnings.js';
import type { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import { isReadable, isWritable, type VolumeCondition } from '../../shared/volume-state.js';
import type { NodeRecord } from '../store/port/store.js';
import { hasFigures } from './state.js';

export interface WatchedNode {
  readonly record: Pick<NodeRecord, 'name' | 'status' | 'statusReason' | 'cordoned' | 'draining'>;
  /** Last report of the node's agent; undefined before the first one. */
  readonly report:
    | Pick<
        AgentReport,
        | 'volumeTotalBytes'
        | 'volumeFreeBytes'
        | 'volumeInodes'
        | 'volumeFreeInodes'
        | 'memoryWorkingSetBytes'
        | 'memoryLimitBytes'
      >
    | undefined;
  readonly volume: VolumeCondition;
}

/** Above these the next upload, or the next process, may be the one that fails. */
const FULL_VOLUME_PERCENT = 90;
const FULL_MEMORY_PERCENT = 95;

/** `isHostShort`: the host's disk is nearly full, of which there is a warning besides. */
export function nodeWarnings(nodes: readonly WatchedNode[], isHostShort: boolean): Warning[] {
  return [
    ...nodes.flatMap((node) => [...stateWarning(node), ...volumeWarning(node), ...roomWarnings(node)]),
    ...placeWarning(nodes, isHostShort),
  ];
}

function stateWarning({ record: { name, status, statusReason } }: WatchedNode): Warning[] {
  const warnings: Partial<
    Record<typeof status, readonly [WarningKind, 'start-failed-node' | 'restart-lost-node' | 'inspect-agent']>
  > = {
    Failed: ['node-failed', 'start-failed-node'],
    Lost: ['node-lost', 'restart-lost-node'],
    Suspect: ['node-suspect', 'inspect-agent'],
  };
  const found = warnings[status];
  if (found === undefined) return [];
  const [kind, key] = found;
  return [warn(kind, `node ${name} is ${status}: ${statusReason}`, { key, node: name })];
}

function volumeWarning({ record: { name, status }, volume: { state, reason } }: WatchedNode): Warning[] {
  if (!hasFigures(status) || isWritable(state)) return [];
  const effect = isReadable(state)
    ? 'its data can be read, new data is placed elsewhere'
    : 'its data counts as unavailable and is copied again from other nodes';
  const problem = `the volume of node ${name} is ${state} (${reason}): ${effect}`;
  // A restart would wait for the disk, and take the node away meanwhile.
  if (state === 'hung') {
    const remedy =
      "see the kernel's log for what blocks the disk; the volume recovers by itself when the disk responds, a restart of the node does not help";
    return [warn('volume-bad', `${problem}; ${remedy}`)];
  }
  const remedy = 'it is repaired automatically if a new mount is enough and the disk of this machine has room';
  return [warn('volume-bad', `${problem}; ${remedy}`, { key: 'repair-volume', node: name })];
}

function roomWarnings({ record: { name, status }, report }: WatchedNode): Warning[] {
  if (report === undefined || !hasFigures(status)) return [];
  const warnings: Warning[] = [];
  const volume = percentOf(report.volumeTotalBytes - report.volumeFreeBytes, report.volumeTotalBytes);
  if (volume >= FULL_VOLUME_PERCENT) {
    const problem = `the volume of node ${name} is ${volume} % full`;
    warnings.push(warn('volume-full', problem, { key: 'free-volume', node: name }));
  }
  const inodes = percentOf(report.volumeInodes - report.volumeFreeInodes, report.volumeInodes);
  if (inodes >= FULL_VOLUME_PERCENT) {
    const problem = `node ${name} has used ${inodes} % of its volume's inodes, ${report.volumeFreeInodes} are left`;
    warnings.push(warn('inodes-full', problem, { key: 'free-inodes', node: name }));
  }
  const memory = percentOf(report.memoryWorkingSetBytes, report.memoryLimitBytes);
  if (memory >= FULL_MEMORY_PERCENT) {
    warnings.push(
      warn('memory-full', `node ${name} uses ${memory} % of its memory`, { key: 'add-memory', node: name }),
    );
  }
  return warnings;
}

const ROOM_FIRST = "make room on the host's disk, which is nearly full";

/** Warns when the cluster has nodes, but none that accepts data. */
function placeWarning(nodes: readonly WatchedNode[], isHostShort: boolean): Warning[] {
  const takes = ({ record, volume }: WatchedNode): boolean =>
    record.status === 'Running' && !record.cordoned && !record.draining && isWritable(volume.state);
  if (nodes.length === 0 || nodes.some(takes)) return [];
  // Starting or uncordoning does not help a node that lacks nothing but a writable volume; its own warning says what does.
  const unfit = nodes.filter(
    ({ record, volume }) =>
      hasFigures(record.status) && !record.cordoned && !record.draining && !isWritable(volume.state),
  );
  const volumes = `the volumes of ${someOf(unfit.map(({ record }) => record.name))}`;
  const repair = isHostShort ? `${ROOM_FIRST}, then ${volumes} can be repaired` : `repair ${volumes}`;
  const remedies = [
    ...(unfit.length === 0 ? [] : [repair]),
    ...(unfit.length === 0 && isHostShort ? [ROOM_FIRST] : []),
    ...(unfit.length === nodes.length ? [] : ['start or uncordon one']),
  ];
  const problem = `no node accepts new data${remedies.length === 0 ? '' : `: ${remedies.join(', or ')}`}`;
  // Another node would be on the same disk.
  if (isHostShort) return [warn('no-place', problem)];
  return [warn('no-place', problem, { key: remedies.length === 0 ? 'create-node' : 'create-another-node' })];
}

/** Whole percent, rounded down; 0 where there is no limit. */
const percentOf = (part: bigint, whole: bigint): number => (whole === 0n ? 0 : Number((part * 100n) / whole));
