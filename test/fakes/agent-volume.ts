/** A volume whose figures a test sets. Scriptable: see FakeScript; the call is named `volume.usage`. */
import { FakeScript } from './script.js';
import { VOLUME_OK } from '../../shared/volume-state.js';
import type { Volume, VolumeUsage } from '../../agent/volume/port.js';

export class FakeVolume implements Volume {
  usedBytes = 0;
  freeInodes = 1000;
  condition = VOLUME_OK;

  constructor(
    readonly dataDir: string,
    private readonly totalBytes: number,
    readonly script = new FakeScript(),
  ) {}

  usage(): Promise<VolumeUsage> {
    return this.script.run('volume.usage', '', () => {
      const { totalBytes, usedBytes, freeInodes } = this;
      return { totalBytes, usedBytes, freeBytes: Math.max(0, totalBytes - usedBytes), totalInodes: 1000, freeInodes };
    });
  }
}
