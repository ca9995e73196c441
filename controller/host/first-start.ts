/**
 * Folders that a first start fills, and removes again if it fails. A folder that had content before is left alone, and
 * so is the log with the reason of the failure, which the caller may need.
 */
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CONTROLLER_LOG, LOCK_FILE } from '../../shared/config/instance.js';

/** Files that exist before a first start has done anything. */
const NO_CONTENT: ReadonlySet<string> = new Set([CONTROLLER_LOG, LOCK_FILE]);

/** Makes the folder if it is missing, and returns a function that undoes it. Call with the instance's lock held. */
export async function claimForStart(path: string, mode: number): Promise<() => Promise<void>> {
  await mkdir(path, { recursive: true, mode });
  const isFirst = (await readdir(path)).every((name) => NO_CONTENT.has(name));
  return async () => {
    if (!isFirst) return;
    const made = (await readdir(path)).filter((name) => name !== CONTROLLER_LOG);
    for (const name of made) await rm(join(path, name), { recursive: true, force: true });
    await rmdir(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
    });
  };
}
