/**
 * Files that only their owner may read, replaced atomically: no reader sees a partial file, and one truncated by a full
 * disk never replaces a complete one.
 */
import { randomBytes } from 'node:crypto';
import { chown, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export const writeSecret = (path: string, text: string, ownerUid?: number): Promise<void> =>
  write(path, text, ownerUid, true);

/**
 * The same for a file that is written anew at each start of what reads it: that it survives a power failure is not waited
 * for, which takes milliseconds where the run folder is on a disk.
 */
export const writePassingSecret = (path: string, text: string, ownerUid?: number): Promise<void> =>
  write(path, text, ownerUid, false);

async function write(path: string, text: string, ownerUid: number | undefined, isDurable: boolean): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  const file = await open(temporary, 'wx', ownerUid === undefined ? 0o600 : 0o400);
  try {
    await file.writeFile(text);
    if (isDurable) await file.sync();
    await file.close();
    // Skip chown for one's own file: only root may set a group of another number.
    if (ownerUid !== undefined && ownerUid !== process.getuid?.()) await chown(temporary, ownerUid, ownerUid);
    await rename(temporary, path);
    if (isDurable) await syncFolder(dirname(path));
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** Without this a power failure could bring the old file back. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close().catch(() => undefined);
  }
}
