/**
 * Lists a local folder before anything is sent, so that the total is known when the progress bar starts. Links are not
 * followed, since they may lead out of the folder or round in circles; only files and folders are stored. A name or a
 * folder that can't be read does not keep the rest from being stored.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Failure } from '../runner/several.js';
import { systemError } from './system-error.js';

export interface LocalTree {
  /** Relative paths, `/`-separated, each folder before its content. */
  readonly folders: readonly string[];
  readonly files: readonly LocalFileFacts[];
  /** Links, sockets, devices. */
  readonly skipped: readonly string[];
  /** Entries that can't be stored: unreadable, or with a name that the cluster can't have. */
  readonly failures: readonly Failure[];
  /** Total size of all files. */
  readonly bytes: number;
}

interface LocalFileFacts {
  readonly path: string;
  readonly size: number;
}

/** Codes, of the topmost folder: not_found, permission_denied; the signal's reason. */
export async function readLocalTree(root: string, signal: AbortSignal): Promise<LocalTree> {
  const reader = new TreeReader(root);
  await reader.read('');
  for (let folder = reader.todo.pop(); folder !== undefined; folder = reader.todo.pop()) {
    signal.throwIfAborted();
    await reader.tryToRead(folder);
  }
  const { folders, files, skipped, failures } = reader;
  const distinct = withoutDoubles(folders, files);
  const bytes = distinct.files.reduce((sum, { size }) => sum + size, 0);
  return { ...distinct, skipped, failures: [...failures, ...distinct.failures], bytes };
}

class TreeReader {
  readonly folders: string[] = [];
  readonly files: LocalFileFacts[] = [];
  readonly skipped: string[] = [];
  readonly failures: Failure[] = [];
  /** Folders that were found and not read yet. */
  readonly todo: string[] = [];

  constructor(private readonly root: string) {}

  async tryToRead(folder: string): Promise<void> {
    try {
      await this.read(folder);
      this.folders.push(folder);
    } catch (error) {
      this.#fail(folder, error);
    }
  }

  async read(folder: string): Promise<void> {
    for (const { name, isUtf8, kind } of await entriesOf(join(this.root, folder))) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (!isUtf8) this.#fail(path, notUtf8());
      else if (kind === 'folder') this.todo.push(path);
      else if (kind === 'file') await this.#measure(path);
      else this.skipped.push(path);
    }
  }

  async #measure(path: string): Promise<void> {
    try {
      this.files.push({ path, size: (await stat(join(this.root, path))).size });
    } catch (thrown) {
      this.#fail(path, systemError(thrown, 'cannot read it', 'make it readable, or leave it out'));
    }
  }

  #fail(name: string, error: unknown): void {
    this.failures.push({ name, error: toNexusError(error) });
  }
}

interface LocalEntry {
  /** If it is not UTF-8, with U+FFFD in place of invalid bytes. */
  readonly name: string;
  readonly isUtf8: boolean;
  readonly kind: 'file' | 'folder' | 'other';
}

/** Reads names as bytes: invalid UTF-8 must be distinguished from names that hold the replacement character. */
async function entriesOf(folder: string): Promise<LocalEntry[]> {
  try {
    const found = (await readdir(folder, { withFileTypes: true, encoding: 'buffer' })).map((entry): LocalEntry => {
      const name = entry.name.toString('utf8');
      const kind = entry.isDirectory() ? 'folder' : entry.isFile() ? 'file' : 'other';
      return { name, isUtf8: Buffer.from(name).equals(entry.name), kind };
    });
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (thrown) {
    throw systemError(thrown, `cannot read ${folder}`, 'make it readable, or leave it out');
  }
}

const notUtf8 = (): NexusError =>
  new NexusError('failed_precondition', 'its name is not UTF-8, as names in the cluster are; rename it');

/**
 * Names in the cluster have Unicode form NFC. Of files that would share a name the first is kept; folders that would
 * are one folder there, and their content is compared in turn.
 */
function withoutDoubles(
  folders: readonly string[],
  files: readonly LocalFileFacts[],
): Pick<LocalTree, 'folders' | 'files' | 'failures'> {
  const taken = new Map<string, string>();
  const isFirst = (path: string): boolean => {
    const stored = path.normalize('NFC');
    if (taken.has(stored)) return false;
    taken.set(stored, path);
    return true;
  };
  const distinctFolders = folders.filter(isFirst);
  const [distinct, failures]: [LocalFileFacts[], Failure[]] = [[], []];
  for (const file of files) {
    if (isFirst(file.path)) distinct.push(file);
    else failures.push({ name: file.path, error: sameName(file.path, taken.get(file.path.normalize('NFC')) ?? '') });
  }
  return { folders: distinctFolders, files: distinct, failures };
}

/** The two look alike on a screen, so each is spelled out. */
const sameName = (path: string, other: string): NexusError =>
  new NexusError(
    'already_exists',
    `${spelt(path)} and ${spelt(other)} are one name in the cluster (Unicode form NFC), and the other one has it; rename one of them`,
  );

const spelt = (text: string): string =>
  `"${text.replace(/[^ -~]/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)}"`;
