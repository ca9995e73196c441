/**
 * Volumes in memory, and who has them attached. Scriptable: see FakeScript; calls are named `volume.*`. Waiting for a
 * release takes until the test releases the device.
 */
import { NexusError } from '../../shared/errors.js';
import { FakeScript } from './script.js';
import type { NodeId } from '../../shared/ids.js';
import { GIB, MIB } from '../../shared/limits.js';
import { noRoom } from '../../controller/hosting/volume-errors.js';
import {
  deviceOf,
  type VolumePlace,
  type VolumeProvisioner,
  type VolumeRoom,
  type VolumeSpec,
} from '../../controller/hosting/volumes.js';

export class FakeVolumes implements VolumeProvisioner {
  readonly volumes = new Map<NodeId, VolumeSpec>();
  readonly cards = new Map<NodeId, string>();
  /** What each attached loop device holds: a node's volume, or something else. */
  readonly #attached = new Map<number, NodeId | 'foreign'>();
  #onRelease: (() => void)[] = [];
  free = 100 * GIB;

  constructor(readonly script = new FakeScript()) {}

  /** As a node's first stage does, or (`foreign`) somebody else on the host. */
  attach(loopDevice: number, what: NodeId | 'foreign'): void {
    this.#attached.set(loopDevice, what);
  }

  release(loopDevice: number): void {
    this.#attached.delete(loopDevice);
    for (const look of this.#onRelease.splice(0)) look();
  }

  pathOf(nodeId: NodeId): string {
    return `/fake/volumes/${nodeId}`;
  }

  create(spec: VolumeSpec, signal: AbortSignal): Promise<void> {
    return this.script.run('volume.create', spec.nodeId, () => {
      if (signal.aborted) throw new NexusError('cancelled', 'making the volume was cancelled');
      if (spec.sizeBytes > this.free) throw noRoom(spec.sizeBytes, this.#room);
      if (this.volumes.has(spec.nodeId)) throw new NexusError('already_exists', `${spec.nodeId} has a volume`);
      this.volumes.set(spec.nodeId, spec);
    });
  }

  assertFree(place: VolumePlace): Promise<void> {
    const { nodeId } = place;
    return this.script.run('volume.assertFree', nodeId, () => {
      if (!this.volumes.has(nodeId)) throw new NexusError('data_loss', `the volume of ${nodeId} is gone`);
      const isHeld = this.#attached.has(deviceOf(place)) || [...this.#attached.values()].includes(nodeId);
      if (isHeld) throw new NexusError('failed_precondition', 'the volume or its device is taken');
    });
  }

  waitReleased(place: VolumePlace): Promise<void> {
    const { nodeId } = place;
    return this.script.run('volume.waitReleased', nodeId, async () => {
      while (this.#attached.get(deviceOf(place)) === nodeId) {
        await new Promise<void>((resolve) => this.#onRelease.push(resolve));
      }
    });
  }

  settled(): Promise<void> {
    return Promise.resolve();
  }

  describe(nodeId: NodeId, card: string): Promise<void> {
    return this.script.run('volume.describe', nodeId, () => {
      if (!this.volumes.has(nodeId)) throw new NexusError('data_loss', `the volume of ${nodeId} is gone`);
      this.cards.set(nodeId, card);
    });
  }

  described(): Promise<readonly { nodeId: NodeId; card: string }[]> {
    return this.script.run('volume.described', '', () =>
      [...this.cards].map(([nodeId, card]) => ({ nodeId, card })).sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1)),
    );
  }

  remove({ nodeId }: VolumePlace): Promise<void> {
    return this.script.run('volume.remove', nodeId, () => {
      this.volumes.delete(nodeId);
      this.cards.delete(nodeId);
    });
  }

  room(): Promise<VolumeRoom> {
    return this.script.run('volume.room', '', () => this.#room);
  }

  get #room(): VolumeRoom {
    return { folder: '/fake/volumes', freeBytes: this.free, keptBytes: 256 * MIB };
  }
}
