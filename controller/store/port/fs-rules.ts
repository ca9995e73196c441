/** Rules of the virtual file system that every implementation of the store keeps. Pure. */
import { NexusError } from '../../../shared/errors.js';
import type { EntryRecord, Names, Sums } from './fs.js';
import type { FileKind } from './store.js';

export const pathOf = (names: Names): string => `/${names.join('/')}`;

export const nothingAt = (names: Names): NexusError =>
  new NexusError('not_found', `there is nothing at ${pathOf(names)}`, {}, { advice: { key: 'list-folder' } });

const noFolder = (names: Names): NexusError =>
  new NexusError(
    'not_found',
    `there is no folder ${pathOf(names)}`,
    {},
    { advice: { key: 'make-folder', path: pathOf(names) } },
  );

const fileInTheWay = (names: Names): NexusError =>
  new NexusError('failed_precondition', `${pathOf(names)} is a file, not a folder; choose another path`);

export const somethingAt = (names: Names, type: EntryRecord['type']): NexusError =>
  new NexusError(
    'already_exists',
    `there is a ${type} ${pathOf(names)} already`,
    {},
    { advice: type === 'folder' ? [] : { key: 'overwrite-path' } },
  );

export const folderInTheWay = (names: Names): NexusError =>
  new NexusError('failed_precondition', `${pathOf(names)} is a folder; choose another path, or one within it`);

export const notEmpty = (names: Names): NexusError =>
  new NexusError(
    'failed_precondition',
    `${pathOf(names)} is not empty`,
    {},
    { advice: { key: 'remove-folder', path: pathOf(names) } },
  );

export const folderGone = (name: string): NexusError =>
  new NexusError('not_found', `the folder for ${name} was removed in the meantime; upload it to another place`);

/** Rejects a file of the virtual file system without a path. */
export const assertPlaced = (kind: FileKind, parentId: string): void => {
  if (kind === 'raw' || parentId !== '') return;
  throw new NexusError('failed_precondition', 'the upload has no path yet; place it before its commit');
};

export const fileMeanwhile = (name: string): NexusError =>
  new NexusError(
    'already_exists',
    `another client stored a file as ${name} in the meantime`,
    {},
    { advice: { key: 'overwrite-path' } },
  );

export const isContent = (id: string): NexusError =>
  new NexusError('failed_precondition', `file ${id} is the content of a path`, {}, { advice: { key: 'remove-path' } });

/** Returns the entry at `path`; `found` is the result of `find` for it. */
export function expectEntry(found: readonly EntryRecord[], path: Names): EntryRecord {
  assertWayIsFolders(found, path);
  const last = found[path.length - 1];
  if (last === undefined) throw nothingAt(path);
  return last;
}

/** Returns the folder at the path; undefined is the topmost folder. */
export function expectFolder(found: readonly EntryRecord[], path: Names): EntryRecord | undefined {
  assertWayIsFolders(found, path);
  if (found.length < path.length) throw noFolder(path.slice(0, found.length + 1));
  const last = found[path.length - 1];
  if (last?.type === 'file') throw fileInTheWay(path);
  return last;
}

/** Rejects a path that leads through a file. */
export function assertWayIsFolders(found: readonly EntryRecord[], path: Names): void {
  const last = found.at(-1);
  if (last?.type === 'file' && found.length < path.length) throw fileInTheWay(path.slice(0, found.length));
}

/**
 * Checks whether `source` may become `to`. `onTheWay`: entries along the new path, including an existing one at its
 * end; `isTargetEmpty` only matters if that one is a folder.
 */
export function assertMayMove(
  source: EntryRecord,
  from: Names,
  to: Names,
  onTheWay: readonly EntryRecord[],
  options: { readonly overwrite: boolean; readonly isTargetEmpty: boolean },
): void {
  const target = onTheWay[to.length - 1];
  if (target?.id === source.id)
    throw new NexusError('failed_precondition', `${pathOf(to)} is the source itself; give another path`);
  if (onTheWay.some(({ id }) => id === source.id)) {
    throw new NexusError('failed_precondition', `${pathOf(from)} can't be moved into itself; choose a path outside it`);
  }
  if (target === undefined) return;
  if (target.type === 'folder') {
    if (source.type === 'file') throw folderInTheWay(to);
    if (!options.isTargetEmpty) throw notEmpty(to);
    return;
  }
  if (source.type === 'folder') throw fileInTheWay(to);
  if (!options.overwrite) throw somethingAt(to, 'file');
}

/** Checks a change that adds to an account: it may hold `used + reserved` afterwards. `limit` 0: no limit. */
export function assertWithinQuota(
  owner: string,
  after: { readonly used: number; readonly reserved: number },
  limit: number,
): void {
  if (limit === 0 || after.used + after.reserved <= limit) return;
  const over = after.used + after.reserved - limit;
  throw new NexusError(
    'resource_exhausted',
    `the quota of ${owner} is ${limit} bytes, and this needs ${over} more`,
    { quota: limit, used: after.used, reserved: after.reserved, over },
    { advice: { key: 'raise-quota' } },
  );
}

export const NOTHING: Sums = { files: 0, folders: 0, bytes: 0 };

export const sumsOf = (entry: EntryRecord): Sums =>
  entry.type === 'file' ? { files: 1, folders: 0, bytes: entry.size } : { files: 0, folders: 1, bytes: 0 };

export const addSums = (one: Sums, other: Sums): Sums => ({
  files: one.files + other.files,
  folders: one.folders + other.folders,
  bytes: one.bytes + other.bytes,
});
