/**
 * The host's side of a node's volume: it is made here, and handed to the node, whose agent alone mounts it.
 * `create` refuses what exists; `remove` may be called twice and for what never was. Calls for different nodes may run
 * concurrently. Codes: already_exists, resource_exhausted (no room on the host), failed_precondition (attached
 * elsewhere), data_loss (the volume is gone), deadline_exceeded, cancelled.
 */
import type { NodeId } from '../../shared/ids.js';

export interface VolumeSpec {
  readonly nodeId: NodeId;
  readonly sizeBytes: number;
  readonly uuid: string;
}

/** A node's volume, and the loop device that it is attached to while the node runs; undefined: its kind has none. */
export interface VolumePlace {
  readonly nodeId: NodeId;
  readonly loopDevice?: number | undefined;
}

export interface VolumeProvisioner {
  /** Fails with resource_exhausted where `room` is less than the volume's size. */
  create(spec: VolumeSpec, signal: AbortSignal): Promise<void>;
  pathOf(nodeId: NodeId): string;
  /** Makes sure that nobody has it and that the node's loop device is free. */
  assertFree(place: VolumePlace): Promise<void>;
  /**
   * Waits until the ended node has let go of it; nothing of the node may run any more. A device that holds something else
   * is not waited for.
   */
  waitReleased(place: VolumePlace): Promise<void>;
  /** With all that was said of it. */
  remove(place: VolumePlace): Promise<void>;
  /** Puts down beside the volume what its node is, in place of what stood there. Code: data_loss (the volume is gone). */
  describe(nodeId: NodeId, card: string): Promise<void>;
  /** The volumes that are there and were described, in order of id. */
  described(): Promise<readonly { readonly nodeId: NodeId; readonly card: string }[]>;
  room(): Promise<VolumeRoom>;
}

/** Room on the host for new volumes. */
export interface VolumeRoom {
  /** Where they are: it may be a file system of its own. */
  readonly folder: string;
  /** Bytes that new ones could still take. */
  readonly freeBytes: number;
  /** Bytes of the file system that stay free besides. */
  readonly keptBytes: number;
}

/** For kinds of hosting whose volumes have one. */
export function deviceOf({ loopDevice }: Pick<VolumePlace, 'loopDevice'>): number {
  if (loopDevice === undefined) throw new TypeError('a volume of this kind has a loop device');
  return loopDevice;
}
