/**
 * A volume that is a plain folder, for the process runtime: nothing but the agent itself keeps it to its size. The
 * bytes counted are those of the chunks, so the bound is on what the agent stores, not on what others put there.
 */
import { statfs } from 'node:fs/promises';
import type { Volume, VolumeUsage } from './port.js';

export class DirectoryVolume implements Volume {
  constructor(
    readonly dataDir: string,
    private readonly sizeBytes: number,
    /** Bytes of the chunks stored at present. */
    private readonly storedBytes: () => number,
  ) {}

  async usage(): Promise<VolumeUsage> {
    const { bsize, bavail, files, ffree } = await statfs(this.dataDir);
    const usedBytes = this.storedBytes();
    // The host's disk may be fuller than the volume's size promises.
    const freeBytes = Math.max(0, Math.min(this.sizeBytes - usedBytes, bavail * bsize));
    return { totalBytes: this.sizeBytes, usedBytes, freeBytes, totalInodes: files, freeInodes: ffree };
  }
}
