/** A volume that is a file system of its own: the kernel bounds it and knows its usage. */
import { statfs } from 'node:fs/promises';
import type { Volume, VolumeUsage } from './port.js';

export class MountedVolume implements Volume {
  constructor(readonly dataDir: string) {}

  async usage(): Promise<VolumeUsage> {
    const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(this.dataDir);
    return {
      totalBytes: blocks * bsize,
      usedBytes: (blocks - bfree) * bsize,
      freeBytes: bavail * bsize,
      totalInodes: files,
      freeInodes: ffree,
    };
  }
}
