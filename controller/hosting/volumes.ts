/**
 * The host's side of a node's volume: made here and passed to the node, which alone mounts it. `create` rejects an
 * existing volume; `remove` may be called twice and for one that never existed. Calls for different nodes may run
 * concurrently. Codes: already_exists, resource_exhausted (no room on the host), failed_precondition (attached
 * elsewhere), data_loss (the volume is gone), deadline_exceeded, cancelled.
 */
import type { NodeId } from '../../shared/ids.js';

export interface VolumeSpec {
  readonly nodeId: NodeId;
  readonly sizeBytes: number;
  readonly uuid: string;
}

/** A node's volume, and the loop device that it is attached to while the node runs; undefined for kinds without one. */
export interface VolumePlace {
  readonly nodeId: NodeId;
  readonly loopDevice?: number | undefined;
}

export interface VolumeProvisioner {
  /** Fails with resource_exhausted where `room` is less than the volume's size. */
  create(spec: VolumeSpec, signal: AbortSignal): Promise<void>;
  pathOf(nodeId: NodeId): string;
  /** Checks that the volume is not in use and that the node's loop device is free. */
  assertFree(place: VolumePlace): Promise<void>;
  /**
   * Waits until an ended node has released its volume; no process of the node may run any more. Does not wait for a
   * device that holds something else.
   */
  waitReleased(place: VolumePlace): Promise<void>;
  /** Removes the volume and its card. */
  remove(place: VolumePlace): Promise<void>;
  /** Waits for what the two before leave to the background, which holds up nothing but the next start with that device. */
  settled(): Promise<void>;
  /**
   * Writes the card that describes the volume's node, replacing an earlier one. Code: data_loss (the volume is gone).
   */
  describe(nodeId: NodeId, card: string): Promise<void>;
  /** Existing volumes that have a card, in order of id. */
  described(): Promise<readonly { readonly nodeId: NodeId; readonly card: string }[]>;
  room(): Promise<VolumeRoom>;
}

/** Room on the host for new volumes. */
export interface VolumeRoom {
  /** Folder of the volumes, which may be a file system of its own. */
  readonly folder: string;
  /** Bytes left for new volumes. */
  readonly freeBytes: number;
  /** Bytes of the file system that stay free for the host itself. */
  readonly keptBytes: number;
}

/** Returns the loop device, for kinds of hosting whose volumes have one. */
export function deviceOf({ loopDevice }: Pick<VolumePlace, 'loopDevice'>): number {
  if (loopDevice === undefined) throw new TypeError('a volume of this kind has a loop device');
  return loopDevice;
}
