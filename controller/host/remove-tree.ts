/** Removes a folder with all that is in it, as far as the system allows. */
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Continues if something can't be removed: a mount point stays, empty, and so do the folders above it. Never rejects;
 * callers check afterwards what is left. Removes links without following them.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
    return;
  } catch {
    // The first failure ends it; then the folder's entries are tried one by one.
  }
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) await removeTree(below);
    else await rm(below, { force: true }).catch(() => undefined);
  }
  await rmdir(path).catch(() => undefined);
}
