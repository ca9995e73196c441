/**
 * One agent per data folder: two would count and delete each other's chunks. In a container the first stage has locked
 * the volume's image; a plain folder is locked here. The lock is the kernel's, on the folder itself, and ends with this
 * process, however that ends.
 */
import { mkdirSync, openSync } from 'node:fs';
import { NexusError } from '../../shared/errors.js';
import { tryCommand } from '../../shared/exec.js';

/** Codes: failed_precondition (another agent has it), not_found (there is no flock). Held until the process ends. */
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
