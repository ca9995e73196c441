/**
 * A volume that is a plain folder, for the process runtime: nothing but the agent itself keeps it to its size. The
 * bytes counted are those of the chunks, so the bound is on what the agent stores, not on what others put there.
 */
import { mkdirSync, openSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { NexusError } from '../../shared/errors.js';
import { tryCommand } from '../../shared/exec.js';
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

/**
 * Locks the folder, because two agents would count and delete each other's chunks. (In a container the first stage has
 * locked the volume's image.) The lock is the kernel's, on the folder itself, and ends with this process, however that
 * ends. Codes: failed_precondition (another agent has it), not_found (there is no flock).
 */
export async function claimFolder(dataDir: string): Promise<void> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  // Never closed. The lock belongs to the open folder, which the command shares: it stays when the command is gone.
  const folder = openSync(dataDir, 'r');
  const { exitCode } = await tryCommand('flock', ['-n', '-x', '3'], { descriptors: [folder] });
  if (exitCode === 0) return;
  throw new NexusError(
    'failed_precondition',
    `the data folder ${dataDir} is in use by another agent; end that one first, or give this one a folder of its own`,
  );
}
