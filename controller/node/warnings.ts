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
  const advice: Partial<Record<typeof status, readonly [WarningKind, string]>> = {
    Failed: ['node-failed', `see nexus node logs ${name}, then nexus node start ${name}`],
    Lost: ['node-lost', `what has copies elsewhere is copied again; nexus node restart ${name} brings it back`],
    Suspect: ['node-suspect', `it may only be busy; nexus agent inspect ${name} tells whether it answers`],
  };
  const what = advice[status];
  if (what === undefined) return [];
  return [warn(what[0], `node ${name} is ${status}: ${statusReason}; ${what[1]}`)];
}

function volumeWarning({ record: { name, status }, volume: { state, reason } }: WatchedNode): Warning[] {
  if (!hasFigures(status) || isWritable(state)) return [];
  const effect = isReadable(state)
    ? 'what it holds can be read, nothing new is placed there'
    : 'what it holds counts as out of reach and is copied again from elsewhere';
  // A restart would wait for the disk, and take the node away meanwhile.
  const remedy =
    state === 'hung'
      ? `see the kernel's log for what holds the disk under it; nexus node restart can't help, and it is well by itself once the disk answers`
      : `it is mended by itself where a new mount does it and the disk of this machine has room; nexus node restart ${name} tries at once, nexus events tells what was tried`;
  return [warn('volume-bad', `the volume of node ${name} is ${state} (${reason}): ${effect}; ${remedy}`)];
}

function roomWarnings({ record: { name, status }, report }: WatchedNode): Warning[] {
  if (report === undefined || !hasFigures(status)) return [];
  const warnings: Warning[] = [];
  const volume = percentOf(report.volumeTotalBytes - report.volumeFreeBytes, report.volumeTotalBytes);
  if (volume >= FULL_VOLUME_PERCENT) {
    warnings.push(
      warn(
        'volume-full',
        `the volume of node ${name} is ${volume} % full; remove files, or add a node and nexus file rebalance; what commands in the node have written counts, too: nexus node exec ${name} -- du -h -d 3 /data`,
      ),
    );
  }
  const inodes = percentOf(report.volumeInodes - report.volumeFreeInodes, report.volumeInodes);
  if (inodes >= FULL_VOLUME_PERCENT) {
    warnings.push(
      warn(
        'inodes-full',
        `node ${name} has used ${inodes} % of its volume's inodes, ${report.volumeFreeInodes} are left; remove files, or add a node and nexus file rebalance; what commands in the node have made counts, too, most of it where this says: nexus node exec ${name} -- sh -c 'find / /data -xdev | sed "s,/[^/]*$,," | sort | uniq -c | sort -n | tail'`,
      ),
    );
  }
  const memory = percentOf(report.memoryWorkingSetBytes, report.memoryLimitBytes);
  if (memory >= FULL_MEMORY_PERCENT) {
    warnings.push(
      warn(
        'memory-full',
        `node ${name} uses ${memory} % of its memory; give it more with nexus node resize ${name} --mem SIZE`,
      ),
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
  // Their own warnings say how; who runs and takes data but for its volume is neither to be started nor uncordoned.
  const unfit = nodes.filter(
    ({ record, volume }) =>
      hasFigures(record.status) && !record.cordoned && !record.draining && !isWritable(volume.state),
  );
  const volumes = `the volumes of ${someOf(unfit.map(({ record }) => record.name))}`;
  const mend = isHostShort ? `${ROOM_FIRST}, then ${volumes} can be mended` : `mend ${volumes}`;
  const advice = [
    ...(unfit.length === 0 ? [] : [mend]),
    ...(unfit.length === 0 && isHostShort ? [ROOM_FIRST] : []),
    ...(unfit.length === nodes.length ? [] : ['start or uncordon one']),
    // Another one would be on the same disk.
    ...(isHostShort ? [] : ['add one with nexus node create NAME']),
  ];
  return [warn('no-place', `no node takes new data: ${advice.join(', or ')}`)];
}

/** Whole percent, rounded down; 0 where there is no limit. */
const percentOf = (part: bigint, whole: bigint): number => (whole === 0n ? 0 : Number((part * 100n) / whole));
