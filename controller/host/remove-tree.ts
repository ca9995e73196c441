/** Removes a folder with all that is in it, as far as the system allows. */
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Goes on where something can't be removed: a mount point stays, empty, and so do the folders above it. Never rejects;
 * whoever has to know what is left looks afterwards. Links are removed, never followed.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
    return;
  } catch {
    // The first thing that can't be removed ends it; what lies beside that is tried one by one.
  }
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) await removeTree(below);
    else await rm(below, { force: true }).catch(() => undefined);
  }
  await rmdir(path).catch(() => undefined);
}
