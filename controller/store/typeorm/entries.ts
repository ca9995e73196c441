/** Rows of entries: the steps of the transactions in fs-store.ts and file-store.ts. */
import type { EntityManager } from 'typeorm';
import { newEntryId, type EntryId, type FileId } from '../../../shared/ids.js';
import { topOf, type EntryRecord, type EntryType, type Names, type Page, type Replacing } from '../port/fs.js';
import { fileMeanwhile, folderGone, folderInTheWay } from '../port/fs-rules.js';
import type { FileRecord, UploadRecord } from '../port/store.js';
import { charge } from './accounts.js';
import { doomFiles } from './chunks.js';
import { query } from './query.js';

interface Row {
  readonly id: string;
  readonly owner: string;
  readonly parentId: string;
  readonly name: string;
  readonly type: EntryType;
  readonly fileId: string | null;
  readonly size: number | string | null;
  readonly createdAt: number | string;
  readonly modifiedAt: number | string;
}

const COLUMNS = `entries.id AS "id", entries.owner AS "owner", entries.parent_id AS "parentId", entries.name AS "name",
  entries.type AS "type", entries.file_id AS "fileId", files.size AS "size", entries.created_at AS "createdAt",
  entries.modified_at AS "modifiedAt"`;
const WITH_FILES = 'LEFT JOIN files ON files.id = entries.file_id';

const recordOf = (row: Row): EntryRecord => ({
  id: row.id as EntryId,
  owner: row.owner,
  parentId: row.parentId,
  name: row.name,
  type: row.type,
  fileId: row.fileId as FileId | null,
  size: Number(row.size ?? 0),
  createdAt: Number(row.createdAt),
  modifiedAt: Number(row.modifiedAt),
});

/** Reads the whole path in one statement, hence in one snapshot. */
export async function findChain(manager: EntityManager, owner: string, path: Names): Promise<EntryRecord[]> {
  const [first, ...others] = path;
  if (first === undefined) return [];
  const further =
    others.length === 0
      ? ''
      : `UNION ALL
         SELECT entries.id, chain.depth + 1 FROM chain JOIN entries ON entries.parent_id = chain.id
            AND entries.name = CASE chain.depth ${others.map((_, at) => `WHEN ${at + 1} THEN ?`).join(' ')} END`;
  const rows = await query<Row>(
    manager,
    `WITH RECURSIVE chain(id, depth) AS (
       SELECT id, 1 FROM entries WHERE parent_id = ? AND name = ? ${further}
     )
     SELECT ${COLUMNS} FROM chain JOIN entries ON entries.id = chain.id ${WITH_FILES} ORDER BY chain.depth`,
    [topOf(owner), first, ...others],
  );
  return rows.map(recordOf);
}

export async function childrenOf(
  manager: EntityManager,
  parent: string,
  { after, limit }: Page,
  foldersOnly: boolean,
): Promise<EntryRecord[]> {
  const rows = await query<Row>(
    manager,
    `SELECT ${COLUMNS} FROM entries ${WITH_FILES}
      WHERE entries.parent_id = ? AND entries.name > ? ${foldersOnly ? "AND entries.type = 'folder'" : ''}
      ORDER BY entries.name LIMIT ${Math.trunc(limit)}`,
    [parent, after],
  );
  return rows.map(recordOf);
}

export async function findChild(
  manager: EntityManager,
  parent: string,
  name: string,
): Promise<EntryRecord | undefined> {
  return (await childrenNamed(manager, parent, [name]))[0];
}

/** At most as many names as fit into one statement. */
export async function childrenNamed(
  manager: EntityManager,
  parent: string,
  names: readonly string[],
): Promise<EntryRecord[]> {
  const rows = await query<Row>(
    manager,
    `SELECT ${COLUMNS} FROM entries ${WITH_FILES}
      WHERE entries.parent_id = ? AND entries.name IN (${names.map(() => '?').join(', ')})`,
    [parent, ...names],
  );
  return rows.map(recordOf);
}

export async function isEmpty(manager: EntityManager, folder: EntryId): Promise<boolean> {
  return (await query(manager, 'SELECT 1 FROM entries WHERE parent_id = ? LIMIT 1', [folder])).length === 0;
}

type NewEntry = Omit<EntryRecord, 'size'>;

export const insertEntry = (manager: EntityManager, entry: NewEntry): Promise<void> => insertEntries(manager, [entry]);

/** At most as many as fit into one statement; `parts` makes such groups. */
export async function insertEntries(manager: EntityManager, entries: readonly NewEntry[]): Promise<void> {
  await query(
    manager,
    `INSERT INTO entries (id, owner, parent_id, name, type, file_id, created_at, modified_at)
     VALUES ${entries.map(() => '(?, ?, ?, ?, ?, ?, ?, ?)').join(', ')}`,
    entries.flatMap(({ id, owner, parentId, name, type, fileId, createdAt, modifiedAt }) => [
      id,
      owner,
      parentId,
      name,
      type,
      fileId,
      createdAt,
      modifiedAt,
    ]),
  );
}

export const deleteEntry = (manager: EntityManager, id: EntryId): Promise<void> => deleteEntries(manager, [id]);

/** At most as many as fit into one statement. */
export async function deleteEntries(manager: EntityManager, ids: readonly EntryId[]): Promise<void> {
  if (ids.length > 0) await query(manager, `DELETE FROM entries WHERE id IN (${ids.map(() => '?').join(', ')})`, ids);
}

/** Sets the folder's time of change. A topmost folder has no row, so nothing happens. */
export async function touch(manager: EntityManager, folder: string, now: number): Promise<void> {
  await query(manager, 'UPDATE entries SET modified_at = ? WHERE id = ?', [now, folder]);
}

interface OwnedFile {
  readonly id: FileId;
  readonly owner: string;
  readonly size: number;
}

/** Removes the file: from the catalogue, the account and the nodes. */
export const dropFile = (manager: EntityManager, file: OwnedFile): Promise<void> => dropFiles(manager, [file]);

/** Each statement is for all of them: at most as many as fit into one. */
export async function dropFiles(manager: EntityManager, files: readonly OwnedFile[]): Promise<void> {
  if (files.length === 0) return;
  const ids = files.map(({ id }) => id);
  await doomFiles(manager, ids);
  const bytes = new Map<string, number>();
  for (const { owner, size } of files) bytes.set(owner, (bytes.get(owner) ?? 0) + size);
  for (const [owner, used] of bytes) await charge(manager, owner, { used: -used });
  await query(manager, `DELETE FROM files WHERE id IN (${ids.map(() => '?').join(', ')})`, ids);
}

type Contained = Pick<EntryRecord, 'fileId' | 'owner' | 'size'>;

/** Removes the content of a removed entry at once, or retires it until its last reader has ended. */
export const releaseContent = (manager: EntityManager, entry: Contained, replacing: Replacing): Promise<void> =>
  releaseContents(manager, [entry], replacing);

export async function releaseContents(
  manager: EntityManager,
  entries: readonly Contained[],
  { claim }: Replacing,
): Promise<void> {
  const files = entries.flatMap(({ fileId, owner, size }) => (fileId === null ? [] : [{ id: fileId, owner, size }]));
  const gone: OwnedFile[] = [];
  const read: FileId[] = [];
  for (const file of files) {
    if (claim(file.id)) gone.push(file);
    else read.push(file.id);
  }
  await dropFiles(manager, gone);
  if (read.length > 0)
    await query(manager, `UPDATE files SET status = 'retired' WHERE id IN (${read.map(() => '?').join(', ')})`, read);
}

/** Makes the entry of an upload that is being committed. Its folder may have moved, or may be gone. */
export async function publishEntry(
  manager: EntityManager,
  file: FileRecord,
  upload: UploadRecord,
  replacing: Replacing,
): Promise<void> {
  const { parentId, entryName: name, overwrite } = upload;
  const { now } = replacing;
  if (!(await isInTree(manager, parentId))) throw folderGone(name);
  const there = await findChild(manager, parentId, name);
  if (there?.type === 'folder') throw folderInTheWay([name]);
  if (there === undefined) {
    const { owner, id: fileId } = file;
    const times = { createdAt: now, modifiedAt: now };
    await insertEntry(manager, { id: newEntryId(), owner, parentId, name, type: 'file', fileId, ...times });
  } else {
    if (!overwrite) throw fileMeanwhile(name);
    await query(manager, 'UPDATE entries SET file_id = ?, modified_at = ? WHERE id = ?', [file.id, now, there.id]);
    await releaseContent(manager, there, replacing);
  }
  await touch(manager, parentId, now);
}

/** Whether the folder is in a user's tree, and not in a detached one that is being removed. */
export async function isInTree(manager: EntityManager, folder: string): Promise<boolean> {
  if (folder.startsWith('~')) return true;
  const [top] = await query<{ parent: string }>(
    manager,
    `WITH RECURSIVE up(id, parent) AS (
       SELECT id, parent_id FROM entries WHERE id = ?
       UNION ALL
       SELECT entries.id, entries.parent_id FROM up JOIN entries ON entries.id = up.parent
     )
     SELECT parent AS "parent" FROM up WHERE parent LIKE '~%'`,
    [folder],
  );
  return top !== undefined;
}
