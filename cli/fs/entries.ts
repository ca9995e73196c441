/** Entries of the virtual file system as the commands ask for them. */
import { NexusError } from '../../shared/errors.js';
import type { FsEntry } from '../../shared/gen/nexus/v1/fs.js';
import type { Controller } from '../connect/connection.js';

/** A message field that the controller always sets. */
export function expectEntry(entry: FsEntry | undefined): FsEntry {
  if (entry === undefined) throw new NexusError('internal', 'the controller answered without an entry');
  return entry;
}

/** Undefined: nothing is there. */
export async function findEntry(controller: Controller, path: string): Promise<FsEntry | undefined> {
  try {
    return expectEntry((await controller.call(controller.fs, controller.fs.statEntry, { path })).entry);
  } catch (error) {
    if (error instanceof NexusError && error.code === 'not_found') return undefined;
    throw error;
  }
}

/** All pages of one folder. */
export async function listFolder(controller: Controller, path: string): Promise<FsEntry[]> {
  const entries: FsEntry[] = [];
  let pageToken = '';
  do {
    const page = await controller.call(controller.fs, controller.fs.listFolder, { path, pageSize: 0, pageToken });
    entries.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return entries;
}

/** Everything below a folder, each folder before its entries. `maxDepth` 0: all levels. */
export async function* walkFolder(controller: Controller, path: string, maxDepth = 0): AsyncGenerator<FsEntry> {
  for await (const { entries } of controller.messages(controller.fs.walkFolder({ path, maxDepth }))) yield* entries;
}

/**
 * An argument that makes a name in the cluster. Node has put U+FFFD where its bytes were not UTF-8: stored like that it
 * would be another name than the one that was typed. Code: invalid_argument.
 */
export function assertUtf8(text: string, argument: string): void {
  if (!text.includes('\ufffd')) return;
  throw new NexusError('invalid_argument', `${argument}: must be UTF-8, without U+FFFD; choose another name`);
}

/** `name` within `folder`. */
export const childPath = (folder: string, name: string): string =>
  folder.endsWith('/') ? `${folder}${name}` : `${folder}/${name}`;
