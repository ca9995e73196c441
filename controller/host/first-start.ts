/**
 * Folders that a first start fills: if it fails it takes them back. A folder that held anything before is left as it is,
 * and so is the log that says why the start failed: whoever began it decides about that.
 */
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CONTROLLER_LOG, LOCK_FILE } from '../../shared/config/instance.js';

/** There before the first start has done anything. */
const NO_CONTENT: ReadonlySet<string> = new Set([CONTROLLER_LOG, LOCK_FILE]);

/** Makes the folder if it is not there; answers the inverse. To be called with the instance's lock held. */
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
