/** Volumes as plain folders, for the process runtime: <state>/volumes/<id>. The agent itself keeps to the size. */
import { existsSync } from 'node:fs';
import { mkdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeId } from '../../../shared/ids.js';
import { readCards, removeCard, writeCard } from '../volume-cards.js';
import { volumeExists, volumeIsGone, noRoom } from '../volume-errors.js';
import type { VolumePlace, VolumeProvisioner, VolumeRoom, VolumeSpec } from '../volumes.js';

export class DirectoryVolumes implements VolumeProvisioner {
  constructor(private readonly folder: string) {}

  pathOf(nodeId: NodeId): string {
    return join(this.folder, nodeId);
  }

  async create(spec: VolumeSpec): Promise<void> {
    const room = await this.room();
    if (spec.sizeBytes > room.freeBytes) throw noRoom(spec.sizeBytes, room);
    const path = this.pathOf(spec.nodeId);
    await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
      throw volumeExists(path, error);
    });
  }

  async assertFree({ nodeId }: Pick<VolumePlace, 'nodeId'>): Promise<void> {
    const path = this.pathOf(nodeId);
    await stat(path).catch((error: unknown) => {
      throw volumeIsGone(path, error);
    });
  }

  waitReleased(): Promise<void> {
    return Promise.resolve();
  }

  settled(): Promise<void> {
    return Promise.resolve();
  }

  async remove({ nodeId }: Pick<VolumePlace, 'nodeId'>): Promise<void> {
    await rm(this.pathOf(nodeId), { recursive: true, force: true });
    await removeCard(this.folder, nodeId);
  }

  async describe(nodeId: NodeId, card: string): Promise<void> {
    await this.assertFree({ nodeId });
    await writeCard(this.folder, nodeId, card);
    // The volume may have been removed meanwhile.
    if (!existsSync(this.pathOf(nodeId))) await removeCard(this.folder, nodeId);
  }

  async described(): Promise<readonly { nodeId: NodeId; card: string }[]> {
    return (await readCards(this.folder)).filter(({ nodeId }) => existsSync(this.pathOf(nodeId)));
  }

  async room(): Promise<VolumeRoom> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(this.folder);
    return { folder: this.folder, freeBytes: bavail * bsize, keptBytes: 0 };
  }
}
