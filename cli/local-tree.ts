/**
 * A folder of the caller's, listed before anything is sent: the whole is known when the progress bar starts. Links are
 * not followed, since they may lead out of the folder or round in circles; what is neither file nor folder is left out.
 */
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemError } from './system-error.js';

export interface LocalTree {
  /** Relative paths, `/`-separated, each folder before what is in it. */
  readonly folders: readonly string[];
  readonly files: readonly { readonly path: string; readonly size: number }[];
  /** Links, sockets, devices. */
  readonly skipped: readonly string[];
  /** Of all files. */
  readonly bytes: number;
}

/** Codes: not_found, permission_denied; the signal's reason. */
export async function readLocalTree(root: string, signal: AbortSignal): Promise<LocalTree> {
  const folders: string[] = [];
  const files: { path: string; size: number }[] = [];
  const skipped: string[] = [];
  const todo = [''];
  for (let folder = todo.pop(); folder !== undefined; folder = todo.pop()) {
    signal.throwIfAborted();
    for (const { name, kind } of await entriesOf(join(root, folder))) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (kind === 'folder') {
        folders.push(path);
        todo.push(path);
      } else if (kind === 'file') files.push({ path, size: await sizeOf(join(root, path)) });
      else skipped.push(path);
    }
  }
  return { folders, files, skipped, bytes: files.reduce((sum, { size }) => sum + size, 0) };
}

type Kind = 'file' | 'folder' | 'other';

async function entriesOf(folder: string): Promise<{ name: string; kind: Kind }[]> {
  try {
    const found: { name: string; kind: Kind }[] = [];
    for await (const entry of await opendir(folder))
      found.push({ name: entry.name, kind: entry.isDirectory() ? 'folder' : entry.isFile() ? 'file' : 'other' });
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (thrown) {
    throw systemError(thrown, `cannot read ${folder}`, 'make it readable, or leave it out');
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (thrown) {
    throw systemError(thrown, `cannot read ${path}`, 'make it readable, or leave it out');
  }
}
