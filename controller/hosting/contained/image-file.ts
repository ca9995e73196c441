/**
 * Volumes as sparse image files with ext4, <state>/volumes/<id>.img. The file system's UUID is the volume's name: the
 * first stage mounts nothing else. The host never mounts one; a loop device exists only while the node's agent has it.
 */
import { existsSync } from 'node:fs';
import { mkdir, open, realpath, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../../../shared/async/wait.js';
import { NexusError } from '../../../shared/errors.js';
import { runCommand, tryCommand } from '../../../shared/exec.js';
import { MIB } from '../../../shared/limits.js';
import type { NodeId } from '../../../shared/ids.js';
import { attachedLoops, holds, isAttached, mayBeAttached } from './loop-devices.js';
import { LoopRemover } from './loop-remover.js';
import { readCards, removeCard, writeCard } from '../volume-cards.js';
import { noRoom, volumeExists, volumeIsGone } from '../volume-errors.js';
import { deviceOf, type VolumePlace, type VolumeProvisioner, type VolumeRoom, type VolumeSpec } from '../volumes.js';

/** Unmounting flushes the volume, which a slow disk may take long for. */
const RELEASE_TIMEOUT_MS = 30_000;
/** Kept free for the host when a volume's full size is checked against the free disk. */
const HOST_RESERVE_BYTES = 256 * MIB;

export class ImageFileVolumes implements VolumeProvisioner {
  readonly #devices = new LoopRemover();

  constructor(private readonly folder: string) {}

  pathOf(nodeId: NodeId): string {
    return join(this.folder, `${nodeId}.img`);
  }

  async create(spec: VolumeSpec, signal: AbortSignal): Promise<void> {
    const room = await this.room();
    if (spec.sizeBytes > room.freeBytes) throw noRoom(spec.sizeBytes, room);
    const path = this.pathOf(spec.nodeId);
    const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
      throw volumeExists(path, error);
    });
    try {
      await file.truncate(spec.sizeBytes);
    } finally {
      await file.close().catch(() => undefined);
    }
    // No blocks for root alone: the agent is not root and the volume is all its own. Lazy tables keep it sparse and fast.
    const options = ['-q', '-F', '-m', '0', '-U', spec.uuid, '-E', 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'];
    await runCommand('mkfs.ext4', [...options, path], { signal, failure: 'its volume cannot be formatted' });
  }

  async assertFree(place: VolumePlace): Promise<void> {
    const loopDevice = deviceOf(place);
    await this.#devices.settled(loopDevice);
    const path = this.pathOf(place.nodeId);
    const image = await stat(path).catch((error: unknown) => {
      throw volumeIsGone(path, error);
    });
    if (!mayBeAttached(loopDevice, await realpath(path))) return;
    for (const loop of await attachedLoops()) {
      if (holds(loop, image)) {
        throw new NexusError('failed_precondition', `the volume is still attached as ${loop.name}`);
      }
      if (loop.name === `/dev/loop${loopDevice}`) {
        throw new NexusError(
          'failed_precondition',
          `${loop.name} is in use by something else; set loop-base to another range`,
        );
      }
    }
  }

  async waitReleased(place: VolumePlace): Promise<void> {
    const { nodeId } = place;
    const loopDevice = deviceOf(place);
    if (!isAttached(loopDevice)) {
      void this.#devices.remove(loopDevice);
      return;
    }
    if (await this.#isForeign(nodeId, loopDevice)) return;
    await this.#detachLeftover(nodeId, loopDevice);
    if (!(await until(() => !isAttached(loopDevice), { everyMs: 5, withinMs: RELEASE_TIMEOUT_MS }))) {
      throw new NexusError(
        'deadline_exceeded',
        `loop${loopDevice} still holds the volume of ${nodeId} after ${RELEASE_TIMEOUT_MS} ms`,
      );
    }
    void this.#devices.remove(loopDevice);
  }

  settled(): Promise<void> {
    return this.#devices.settled();
  }

  /**
   * Detaches the device if a first stage was killed between attaching and mounting it: nothing else would. A device
   * that is still mounted is not affected: the kernel releases it with the last process that uses it.
   */
  async #detachLeftover(nodeId: NodeId, loopDevice: number): Promise<void> {
    const image = await stat(this.pathOf(nodeId)).catch(() => undefined);
    const name = `/dev/loop${loopDevice}`;
    const isOurs = (await attachedLoops()).some((loop) => loop.name === name && loop.inode === image?.ino);
    // Fails if the kernel was quicker; the caller checks again anyway.
    if (isOurs) await tryCommand('losetup', ['--detach', name]);
  }

  async remove(place: VolumePlace): Promise<void> {
    const { nodeId } = place;
    await rm(this.pathOf(nodeId), { force: true });
    await removeCard(this.folder, nodeId);
    void this.#devices.remove(deviceOf(place));
  }

  async describe(nodeId: NodeId, card: string): Promise<void> {
    const path = this.pathOf(nodeId);
    await stat(path).catch((error: unknown) => {
      throw volumeIsGone(path, error);
    });
    await writeCard(this.folder, nodeId, card);
    // The volume may have been removed meanwhile.
    if (!existsSync(this.pathOf(nodeId))) await removeCard(this.folder, nodeId);
  }

  async described(): Promise<readonly { nodeId: NodeId; card: string }[]> {
    return (await readCards(this.folder)).filter(({ nodeId }) => existsSync(this.pathOf(nodeId)));
  }

  /** Whether the device holds something else. A deleted image may still be attached: it counts as ours. */
  async #isForeign(nodeId: NodeId, loopDevice: number): Promise<boolean> {
    const image = await stat(this.pathOf(nodeId)).catch(() => undefined);
    const loop = (await attachedLoops()).find((candidate) => candidate.name === `/dev/loop${loopDevice}`);
    return image !== undefined && loop !== undefined && !holds(loop, image);
  }

  async room(): Promise<VolumeRoom> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(this.folder);
    const freeBytes = Math.max(0, bavail * bsize - HOST_RESERVE_BYTES);
    return { folder: this.folder, freeBytes, keptBytes: HOST_RESERVE_BYTES };
  }
}
