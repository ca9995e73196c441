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

export interface VolumeProvisioner {
  /** Fails with resource_exhausted where `freeBytes` is less than the volume's size. */
  create(spec: VolumeSpec, signal: AbortSignal): Promise<void>;
  pathOf(nodeId: NodeId): string;
  /** Makes sure that nobody has it and that the node's loop device is free. */
  assertFree(nodeId: NodeId, loopDevice: number): Promise<void>;
  /**
   * Waits until the ended node has let go of it; nothing of the node may run any more. A device that holds something else
   * is not waited for.
   */
  waitReleased(nodeId: NodeId, loopDevice: number): Promise<void>;
  /** With all that was said of it. */
  remove(nodeId: NodeId, loopDevice: number): Promise<void>;
  /** Puts down beside the volume what its node is, in place of what stood there. Code: data_loss (the volume is gone). */
  describe(nodeId: NodeId, card: string): Promise<void>;
  /** The volumes that are there and were described, in order of id. */
  described(): Promise<readonly { readonly nodeId: NodeId; readonly card: string }[]>;
  /** Bytes that new volumes could still take on the host. */
  freeBytes(): Promise<number>;
  readonly usesLoopDevices: boolean;
}
