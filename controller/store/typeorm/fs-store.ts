/** The virtual file systems in tables. A folder is the parent of its entries, so that moving one changes a single row. */
import type { EntityManager } from 'typeorm';
import { newEntryId, type FileId } from '../../../shared/ids.js';
import {
  topOf,
  type Account,
  type Detached,
  type EntryRecord,
  type FsStore,
  type Names,
  type Page,
  type Replacing,
  type Sums,
} from '../port/fs.js';
import {
  addSums,
  assertMayMove,
  assertWayIsFolders,
  expectEntry,
  expectFolder,
  notEmpty,
  NOTHING,
  nothingAt,
  somethingAt,
  sumsOf,
} from '../port/fs-rules.js';
import { accountOf, ensureAccount, findAccount } from './accounts.js';
import type { Database } from './database.js';
import {
  childrenNamed,
  childrenOf,
  deleteEntries,
  deleteEntry,
  dropFile,
  findChain,
  insertEntry,
  isEmpty,
  releaseContent,
  releaseContents,
  touch,
} from './entries.js';
import { query } from './query.js';

export class TypeormFsStore implements FsStore {
  constructor(private readonly database: Database) {}

  find(owner: string, path: Names): Promise<readonly EntryRecord[]> {
    return this.database.read((manager) => findChain(manager, owner, path));
  }

  children(parent: string, page: Page): Promise<readonly EntryRecord[]> {
    return this.database.read((manager) => childrenOf(manager, parent, page, false));
  }

  named(parent: string, names: readonly string[]): Promise<readonly EntryRecord[]> {
    return this.database.read((manager) => childrenNamed(manager, parent, names));
  }

  folders(parent: string, page: Page): Promise<readonly EntryRecord[]> {
    return this.database.read((manager) => childrenOf(manager, parent, page, true));
  }

  async sums(parent: string): Promise<Sums> {
    const [row] = await this.database.read((manager) =>
      query<Record<keyof Sums, number | string | null>>(
        manager,
        `SELECT COUNT(entries.file_id) AS "files", COUNT(*) - COUNT(entries.file_id) AS "folders", SUM(files.size) AS "bytes"
           FROM entries LEFT JOIN files ON files.id = entries.file_id WHERE entries.parent_id = ?`,
        [parent],
      ),
    );
    return { files: Number(row?.files ?? 0), folders: Number(row?.folders ?? 0), bytes: Number(row?.bytes ?? 0) };
  }

  makeFolder(owner: string, path: Names, options: { parents: boolean; now: number }): Promise<EntryRecord> {
    const { parents, now } = options;
    return this.database.write(async (manager) => {
      const found = await findChain(manager, owner, path);
      assertWayIsFolders(found, path);
      const there = found[path.length - 1];
      if (there !== undefined && (!parents || there.type === 'file')) throw somethingAt(path, there.type);
      if (there !== undefined) return there;
      if (!parents) expectFolder(found, path.slice(0, -1));
      await ensureAccount(manager, owner, now);
      let parent = found.at(-1);
      if (parent !== undefined) await touch(manager, parent.id, now);
      for (const name of path.slice(found.length)) {
        parent = folderEntry(owner, parent?.id ?? topOf(owner), name, now);
        await insertEntry(manager, parent);
      }
      if (parent === undefined) throw nothingAt(path);
      return parent;
    });
  }

  move(owner: string, from: Names, to: Names, options: Replacing & { overwrite: boolean }): Promise<EntryRecord> {
    const { overwrite, now } = options;
    return this.database.write(async (manager) => {
      const source = expectEntry(await findChain(manager, owner, from), from);
      const onTheWay = await findChain(manager, owner, to);
      const target = onTheWay[to.length - 1];
      const isTargetEmpty = target?.type === 'folder' && (await isEmpty(manager, target.id));
      assertMayMove(source, from, to, onTheWay, { overwrite, isTargetEmpty });
      const folder = expectFolder(onTheWay.slice(0, to.length - 1), to.slice(0, -1));
      if (target !== undefined) {
        await deleteEntry(manager, target.id);
        await releaseContent(manager, target, options);
      }
      const parentId = folder?.id ?? topOf(owner);
      const name = to.at(-1) ?? '';
      await query(manager, 'UPDATE entries SET parent_id = ?, name = ? WHERE id = ?', [parentId, name, source.id]);
      await touch(manager, source.parentId, now);
      await touch(manager, parentId, now);
      return { ...source, parentId, name };
    });
  }

  detach(owner: string, path: Names, options: Replacing & { recursive: boolean }): Promise<Detached> {
    return this.database.write(async (manager) => {
      const entry = expectEntry(await findChain(manager, owner, path), path);
      await touch(manager, entry.parentId, options.now);
      if (entry.type === 'file' || (await isEmpty(manager, entry.id))) {
        await deleteEntry(manager, entry.id);
        await releaseContent(manager, entry, options);
        return { sums: sumsOf(entry), group: undefined };
      }
      if (!options.recursive) throw notEmpty(path);
      const group = `#${entry.id}`;
      await query(manager, 'UPDATE entries SET parent_id = ?, name = id WHERE id = ?', [group, entry.id]);
      return { sums: NOTHING, group };
    });
  }

  reap(group: string, limit: number, replacing: Replacing): Promise<{ readonly sums: Sums; readonly isDone: boolean }> {
    return this.database.write(async (manager) => {
      const entries = await childrenOf(manager, group, { after: '', limit }, false);
      let sums = await dropEntries(manager, entries.filter(isFile), replacing);
      let left = limit - entries.filter(isFile).length;
      for (const entry of entries) {
        if (left <= 0) break;
        if (isFile(entry)) continue;
        const content = await childrenOf(manager, entry.id, { after: '', limit: left }, false);
        sums = addSums(sums, await dropEntries(manager, content.filter(isFile), replacing));
        await intoGroup(
          manager,
          group,
          content.filter((child) => !isFile(child)),
        );
        left -= content.length;
        if (!(await isEmpty(manager, entry.id))) break;
        await deleteEntries(manager, [entry.id]);
        sums = addSums(sums, sumsOf(entry));
        left -= 1;
      }
      const rest = await childrenOf(manager, group, { after: '', limit: 1 }, false);
      return { sums, isDone: rest.length === 0 };
    });
  }

  async detachedGroups(): Promise<readonly string[]> {
    const rows = await this.database.read((manager) =>
      query<{ group: string }>(
        manager,
        `SELECT DISTINCT parent_id AS "group" FROM entries WHERE parent_id >= '#' AND parent_id < '$'`,
      ),
    );
    return rows.map((row) => row.group);
  }

  async retired(): Promise<readonly FileId[]> {
    const rows = await this.database.read((manager) =>
      query<{ id: FileId }>(manager, `SELECT id AS "id" FROM files WHERE status = 'retired'`),
    );
    return rows.map((row) => row.id);
  }

  async dropRetired(files: readonly FileId[]): Promise<void> {
    await this.database.write(async (manager) => {
      for (const id of files) {
        const [row] = await query<{ owner: string; size: number | string }>(
          manager,
          `SELECT owner AS "owner", size AS "size" FROM files WHERE id = ? AND status = 'retired'`,
          [id],
        );
        if (row !== undefined) await dropFile(manager, { id, owner: row.owner, size: Number(row.size) });
      }
    });
  }

  account(owner: string): Promise<Account | undefined> {
    return this.database.read((manager) => findAccount(manager, owner));
  }

  setLimit(owner: string, limit: number | null, now: number): Promise<Account> {
    return this.database.write(async (manager) => {
      await ensureAccount(manager, owner, now);
      await query(manager, 'UPDATE accounts SET quota = ? WHERE owner = ?', [limit, owner]);
      return (await findAccount(manager, owner)) ?? { owner, limit, used: 0, reserved: 0, createdAt: now };
    });
  }

  async recount(owner: string): Promise<{ account: Account | undefined; used: number; reserved: number }> {
    const [row] = await this.database.read((manager) =>
      query<{ filed: string | number | null; held: string | number | null; owner: string | null } & AccountRow>(
        manager,
        `SELECT accounts.owner AS "owner", quota AS "limit", used AS "used", accounts.reserved AS "reserved",
                accounts.created_at AS "createdAt",
                (SELECT SUM(size) FROM files WHERE files.owner = given.owner AND status IN ('ready', 'partial', 'retired')) AS "filed",
                (SELECT SUM(uploads.reserved) FROM uploads JOIN files ON files.id = uploads.file_id
                  WHERE files.owner = given.owner) AS "held"
           FROM (SELECT CAST(? AS text) AS owner) AS given LEFT JOIN accounts ON accounts.owner = given.owner`,
        [owner],
      ),
    );
    const account = row === undefined || row.owner === null ? undefined : accountOf({ ...row, owner: row.owner });
    return { account, used: Number(row?.filed ?? 0), reserved: Number(row?.held ?? 0) };
  }
}

type AccountRow = Omit<Parameters<typeof accountOf>[0], 'owner'>;

const folderEntry = (owner: string, parentId: string, name: string, now: number): EntryRecord => ({
  id: newEntryId(),
  owner,
  parentId,
  name,
  type: 'folder',
  fileId: null,
  size: 0,
  createdAt: now,
  modifiedAt: now,
});

const isFile = ({ type }: EntryRecord): boolean => type === 'file';

/** Removes these files with their content. */
async function dropEntries(manager: EntityManager, files: readonly EntryRecord[], replacing: Replacing): Promise<Sums> {
  await deleteEntries(
    manager,
    files.map(({ id }) => id),
  );
  await releaseContents(manager, files, replacing);
  return files.reduce((sum, entry) => addSums(sum, sumsOf(entry)), NOTHING);
}

/** Moves folders of a detached folder into its group. They are named by id there, because names might not be unique. */
async function intoGroup(manager: EntityManager, group: string, folders: readonly EntryRecord[]): Promise<void> {
  if (folders.length === 0) return;
  const ids = folders.map(({ id }) => id);
  await query(manager, `UPDATE entries SET parent_id = ?, name = id WHERE id IN (${ids.map(() => '?').join(', ')})`, [
    group,
    ...ids,
  ]);
}
