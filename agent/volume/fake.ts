/** A volume whose figures a test sets. Scriptable: see FakeScript; the call is named `volume.usage`. */
import { FakeScript } from '../../shared/fake-script.js';
import type { Volume, VolumeUsage } from './port.js';

export class FakeVolume implements Volume {
  usedBytes = 0;

  constructor(
    readonly dataDir: string,
    private readonly totalBytes: number,
    readonly script = new FakeScript(),
  ) {}

  usage(): Promise<VolumeUsage> {
    return this.script.run('volume.usage', '', () => {
      const { totalBytes, usedBytes } = this;
      return { totalBytes, usedBytes, freeBytes: Math.max(0, totalBytes - usedBytes) };
    });
  }
}
