/**
 * The prepared base image, unpacked once per host: instances link its files instead of each writing their own. Nodes
 * and sandboxes see images read-only, so nothing but the host's root could tell such files from copies. A link needs
 * no inode: removing an instance and starting another within seconds costs more than a second otherwise, as ext4
 * passes over every inode that was freed a moment ago.
 *
 * The last instance that links a tree removes it when it is purged.
 *
 * Sharing is never needed: an image is unpacked for itself where links are impossible (another file system, a folder
 * that can't be written).
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { systemClock } from '../../shared/async/clock.js';
import { tryCommand } from '../../shared/exec.js';
import { unpackFile } from './unpack.js';

const ROOTFS = 'rootfs';
const LEFT_OUT = 'left-out';
const LINK_TIMEOUT_MS = 60_000;
/** Trees that no start has used for so long are of archives of the past, or of interrupted unpackings. */
const UNUSED_MS = 24 * 60 * 60 * 1000;

/** As `unpackFile`. `shared`: a folder of root's alone, which is made when it is not there. */
export async function unpackShared(
  archive: string,
  into: string,
  shared: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    // Set-user-id programs of an image are for nodes, not for other users of the host.
    await mkdir(shared, { recursive: true, mode: 0o700 });
    if ((await stat(shared)).dev !== (await stat(into)).dev) return await unpackFile(archive, into, signal);
    const tree = await unpackedTree(archive, shared, signal);
    const from = join(tree, ROOTFS);
    const { exitCode } = await tryCommand('cp', ['--archive', '--link', '--no-target-directory', from, into], {
      timeoutMs: LINK_TIMEOUT_MS,
      signal,
    });
    const leftOut = await readFile(join(tree, LEFT_OUT), 'utf8');
    if (exitCode === 0) return leftOut;
  } catch (error) {
    if (signal.aborted) throw error;
  }
  await empty(into);
  return await unpackFile(archive, into, signal);
}

/** The folder of the archive's tree, unpacked if need be. Two that unpack at once end with the tree of the first. */
async function unpackedTree(archive: string, shared: string, signal: AbortSignal): Promise<string> {
  const { size, mtimeMs } = await stat(archive);
  const tree = join(shared, `${basename(archive)}-${size}-${mtimeMs}`);
  const now = new Date(systemClock.now());
  const isThere = await utimes(tree, now, now).then(
    () => true,
    () => false,
  );
  if (isThere) return tree;
  await removeUnused(shared, now.getTime());
  const partial = join(shared, `.${randomBytes(4).toString('hex')}`);
  try {
    // Not recursively, which would make `shared` for everybody where somebody removes it meanwhile.
    await mkdir(partial, { mode: 0o700 });
    await mkdir(join(partial, ROOTFS), { mode: 0o755 });
    await writeFile(join(partial, LEFT_OUT), await unpackFile(archive, join(partial, ROOTFS), signal));
    await rename(partial, tree).catch((error: unknown) => {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    });
  } finally {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
  }
  return tree;
}

async function removeUnused(shared: string, now: number): Promise<void> {
  for (const name of await readdir(shared)) {
    const path = join(shared, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: now }));
    if (now - mtimeMs > UNUSED_MS) await removeTree(path, shared);
  }
}

/**
 * Removes a tree, its name first, so that an instance that links it meanwhile fails and unpacks the archive for itself:
 * a folder that had lost files already would be linked without them, and without an error.
 */
async function removeTree(tree: string, shared: string): Promise<void> {
  const doomed = join(shared, `.${randomBytes(4).toString('hex')}`);
  await rename(tree, doomed);
  await rm(doomed, { recursive: true, force: true });
}

/** Removes the trees whose files no instance links any more, and the folder with the last one. Never fails. */
export async function removeUnlinked(shared: string): Promise<void> {
  try {
    for (const name of await readdir(shared)) {
      const path = join(shared, name);
      // One that is unpacked just now. Its own start, or one a day later, removes it.
      if (name.startsWith('.')) continue;
      if (await isUnlinked(join(path, ROOTFS))) await removeTree(path, shared);
    }
    await rmdir(shared);
  } catch {
    // It is not there, another instance removes it, too, or a tree of it is in use.
  }
}

/** Whether some file of the tree has no other name. Some have two in the archive itself. */
async function isUnlinked(folder: string): Promise<boolean> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isFile() && (await stat(path)).nlink === 1) return true;
    if (entry.isDirectory() && (await isUnlinked(path))) return true;
  }
  return false;
}

async function empty(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
}
