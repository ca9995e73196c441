/** A volume for tests whose free bytes are set from outside. */
import type { Volume, VolumeUsage } from './port.js';

export class FakeVolume implements Volume {
  totalBytes = 1024 * 1024 * 1024;
  freeBytes = this.totalBytes;
  /** Thrown by the next call of `usage`. */
  failNext: Error | undefined;

  constructor(readonly dataDir: string) {}

  usage(): Promise<VolumeUsage> {
    const failure = this.failNext;
    this.failNext = undefined;
    if (failure !== undefined) return Promise.reject(failure);
    return Promise.resolve({
      totalBytes: this.totalBytes,
      usedBytes: this.totalBytes - this.freeBytes,
      freeBytes: this.freeBytes,
    });
  }
}
