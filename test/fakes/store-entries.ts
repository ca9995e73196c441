/** Entries and accounts of the store in memory: the steps that its writes are made of. */
import { newEntryId, type EntryId, type FileId } from '../../shared/ids.js';
import { doomFile, type FileTables } from './store-tables.js';
import type { EntryRecord, Names, Replacing } from '../../controller/store/port/fs.js';
import { topOf } from '../../controller/store/port/fs.js';
import { assertWithinQuota, fileMeanwhile, folderGone, folderInTheWay } from '../../controller/store/port/fs-rules.js';
import type { FileRecord, UploadRecord } from '../../controller/store/port/store.js';

type Row = Omit<EntryRecord, 'size'>;

export const withSize = ({ files }: FileTables, row: Row): EntryRecord => ({
  ...row,
  size: row.fileId === null ? 0 : (files.get(row.fileId)?.size ?? 0),
});

export function childrenIn(tables: FileTables, parent: string): EntryRecord[] {
  return [...tables.entries.values()]
    .filter((row) => row.parentId === parent)
    .sort((one, other) => Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)))
    .map((row) => withSize(tables, row));
}

export const childOf = (tables: FileTables, parent: string, name: string): EntryRecord | undefined =>
  childrenIn(tables, parent).find((entry) => entry.name === name);

export function chainIn(tables: FileTables, owner: string, path: Names): EntryRecord[] {
  const chain: EntryRecord[] = [];
  for (const name of path) {
    const next = childOf(tables, chain.at(-1)?.id ?? topOf(owner), name);
    if (next === undefined) break;
    chain.push(next);
  }
  return chain;
}

export function ensureAccount({ accounts }: FileTables, owner: string, now: number): void {
  if (!accounts.has(owner)) accounts.set(owner, { owner, limit: null, used: 0, reserved: 0, createdAt: now });
}

export function charge(
  { accounts }: FileTables,
  owner: string,
  { used = 0, reserved = 0 }: { readonly used?: number; readonly reserved?: number },
  limit = 0,
): void {
  const account = accounts.get(owner);
  if (account === undefined) return;
  const after = { ...account, used: account.used + used, reserved: account.reserved + reserved };
  if (used + reserved > 0) assertWithinQuota(owner, after, after.limit ?? limit);
  accounts.set(owner, after);
}

export function touch({ entries }: FileTables, folder: string, now: number): void {
  const row = entries.get(folder as EntryId);
  if (row !== undefined) entries.set(row.id, { ...row, modifiedAt: now });
}

export function dropFile(tables: FileTables, file: { id: FileId; owner: string; size: number }): void {
  charge(tables, file.owner, { used: -file.size });
  doomFile(tables, file.id);
}

export function releaseContent(tables: FileTables, { fileId }: Row, { claim }: Replacing): void {
  const file = fileId === null ? undefined : tables.files.get(fileId);
  if (file === undefined) return;
  if (claim(file.id)) dropFile(tables, file);
  else tables.files.set(file.id, { ...file, status: 'retired' });
}

export function publishEntry(tables: FileTables, file: FileRecord, upload: UploadRecord, replacing: Replacing): void {
  const { parentId, entryName: name, overwrite } = upload;
  const { now } = replacing;
  if (!isInTree(tables, parentId)) throw folderGone(name);
  const there = childOf(tables, parentId, name);
  if (there?.type === 'folder') throw folderInTheWay([name]);
  if (there !== undefined && !overwrite) throw fileMeanwhile(name);
  if (there === undefined) {
    const id = newEntryId();
    const row: Row = {
      id,
      owner: file.owner,
      parentId,
      name,
      type: 'file',
      fileId: file.id,
      createdAt: now,
      modifiedAt: now,
    };
    tables.entries.set(id, row);
  } else {
    const { size: _size, ...row } = there;
    tables.entries.set(there.id, { ...row, fileId: file.id, modifiedAt: now });
    releaseContent(tables, there, replacing);
  }
  touch(tables, parentId, now);
}

function isInTree({ entries }: FileTables, folder: string): boolean {
  let at: string | undefined = folder;
  while (at !== undefined && !at.startsWith('~')) at = entries.get(at as EntryId)?.parentId;
  return at !== undefined;
}
