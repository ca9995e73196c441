/**
 * The part of a node's record that describes its host. Only this folder reads more of it than its kind; others ask
 * here, or the node's hosting.
 */
import { readFileSync } from 'node:fs';
import type { NodeId } from '../../shared/ids.js';
import type { ProcessIdentity } from './runtime.js';
import type { VolumePlace } from './volumes.js';

/** Facts of a node that lives on this host. */
interface OnThisHost {
  /** 0-based; address, uid, loop device and interface name follow from it. Unique while the node exists. */
  readonly slot: number;
  /** Ties a volume to its node. */
  readonly volumeUuid: string;
  /** The node's first process, while it has one. */
  readonly process?: ProcessIdentity | undefined;
  /** The kernel's boot id when that process was started; empty: never. */
  readonly bootId: string;
}

export interface ContainedRecord extends OnThisHost {
  readonly kind: 'contained';
  /** Number of the loop device that the node attaches its volume to. */
  readonly loopDevice: number;
  /** First of the node's ids on the host, since its last start; see id-ranges.ts. */
  readonly firstId?: number | undefined;
}

export interface ProcessRecord extends OnThisHost {
  readonly kind: 'process';
}

export type HostingRecord = ContainedRecord | ProcessRecord;

/** The part of a node's record that concerns its hosting. */
export interface Hosted {
  readonly id: NodeId;
  readonly hosting: HostingRecord;
}

/** Identifies this boot. A container of an earlier boot is gone, even if its process id is in use again. */
export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

export const wasStartedInThisBoot = ({ hosting }: Hosted): boolean => hosting.bootId === bootId();

const NO_PROCESS: ProcessIdentity = { pid: 0, startTicks: '' };

/** Identity of the node's first process; without one, an identity that no process has. */
export const identityOf = ({ hosting }: Hosted): ProcessIdentity => hosting.process ?? NO_PROCESS;

export const started = (hosting: HostingRecord, identity: ProcessIdentity): HostingRecord => ({
  ...hosting,
  process: identity,
  bootId: bootId(),
});

export const ended = (hosting: HostingRecord): HostingRecord => ({ ...hosting, process: undefined });

/** The record of a node in a container. Only that kind's profile asks. */
export function containedRecord(hosting: HostingRecord): ContainedRecord {
  if (hosting.kind !== 'contained') throw new TypeError('the node is no container');
  return hosting;
}

export const volumePlaceOf = ({ id, hosting }: Hosted): VolumePlace =>
  hosting.kind === 'contained' ? { nodeId: id, loopDevice: hosting.loopDevice } : { nodeId: id };

/** Loop device number as the interfaces show it: -1 for a node without one. */
export const shownLoopDevice = ({ hosting }: Hosted): number =>
  hosting.kind === 'contained' ? hosting.loopDevice : -1;
