/** Volumes as plain folders, for the process runtime: <state>/volumes/<id>. The agent itself keeps to the size. */
import { mkdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeId } from '../../shared/ids.js';
import type { VolumeProvisioner, VolumeSpec } from './port.js';

export class DirectoryVolumes implements VolumeProvisioner {
  readonly usesLoopDevices = false;

  constructor(private readonly folder: string) {}

  pathOf(nodeId: NodeId): string {
    return join(this.folder, nodeId);
  }

  async create(spec: VolumeSpec): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await mkdir(this.pathOf(spec.nodeId), { mode: 0o700 });
  }

  assertFree(): Promise<void> {
    return Promise.resolve();
  }

  waitReleased(): Promise<void> {
    return Promise.resolve();
  }

  async remove(nodeId: NodeId): Promise<void> {
    await rm(this.pathOf(nodeId), { recursive: true, force: true });
  }

  async freeBytes(): Promise<number> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(this.folder);
    return bavail * bsize;
  }
}
