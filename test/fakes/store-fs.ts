/** The virtual file systems of the store in memory. Each method is one step on the tables it is given. */
import { newEntryId, type FileId } from '../../shared/ids.js';
import { chainIn, childrenIn, dropFile, ensureAccount, releaseContent, touch } from './store-entries.js';
import type { FileTables, Run } from './store-tables.js';
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
} from '../../controller/store/port/fs.js';
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
} from '../../controller/store/port/fs-rules.js';

export class FakeFsStore implements FsStore {
  constructor(
    private readonly read: Run,
    private readonly write: Run,
  ) {}

  find(owner: string, path: Names): Promise<readonly EntryRecord[]> {
    return this.read((tables) => chainIn(tables, owner, path));
  }

  children(parent: string, page: Page): Promise<readonly EntryRecord[]> {
    return this.read((tables) => pageOf(childrenIn(tables, parent), page));
  }

  named(parent: string, names: readonly string[]): Promise<readonly EntryRecord[]> {
    return this.read((tables) => childrenIn(tables, parent).filter(({ name }) => names.includes(name)));
  }

  folders(parent: string, page: Page): Promise<readonly EntryRecord[]> {
    return this.read((tables) =>
      pageOf(
        childrenIn(tables, parent).filter((entry) => entry.type === 'folder'),
        page,
      ),
    );
  }

  sums(parent: string): Promise<Sums> {
    return this.read((tables) => childrenIn(tables, parent).map(sumsOf).reduce(addSums, NOTHING));
  }

  makeFolder(owner: string, path: Names, { parents, now }: { parents: boolean; now: number }): Promise<EntryRecord> {
    return this.write((tables) => {
      const found = chainIn(tables, owner, path);
      assertWayIsFolders(found, path);
      const there = found[path.length - 1];
      if (there !== undefined && (!parents || there.type === 'file')) throw somethingAt(path, there.type);
      if (there !== undefined) return there;
      if (!parents) expectFolder(found, path.slice(0, -1));
      ensureAccount(tables, owner, now);
      let last = found.at(-1);
      if (last !== undefined) touch(tables, last.id, now);
      for (const name of path.slice(found.length)) {
        const row = {
          id: newEntryId(),
          owner,
          parentId: last?.id ?? topOf(owner),
          name,
          type: 'folder' as const,
          fileId: null,
          createdAt: now,
          modifiedAt: now,
        };
        tables.entries.set(row.id, row);
        last = { ...row, size: 0 };
      }
      if (last === undefined) throw nothingAt(path);
      return last;
    });
  }

  move(owner: string, from: Names, to: Names, options: Replacing & { overwrite: boolean }): Promise<EntryRecord> {
    return this.write((tables) => {
      const source = expectEntry(chainIn(tables, owner, from), from);
      const onTheWay = chainIn(tables, owner, to);
      const target = onTheWay[to.length - 1];
      const isTargetEmpty = target?.type === 'folder' && childrenIn(tables, target.id).length === 0;
      assertMayMove(source, from, to, onTheWay, { overwrite: options.overwrite, isTargetEmpty });
      const folder = expectFolder(onTheWay.slice(0, to.length - 1), to.slice(0, -1));
      if (target !== undefined) {
        tables.entries.delete(target.id);
        releaseContent(tables, target, options);
      }
      const { size, ...row } = source;
      const moved = { ...row, parentId: folder?.id ?? topOf(owner), name: to.at(-1) ?? '' };
      tables.entries.set(source.id, moved);
      touch(tables, source.parentId, options.now);
      touch(tables, moved.parentId, options.now);
      return { ...moved, size };
    });
  }

  detach(owner: string, path: Names, options: Replacing & { recursive: boolean }): Promise<Detached> {
    return this.write((tables) => {
      const entry = expectEntry(chainIn(tables, owner, path), path);
      touch(tables, entry.parentId, options.now);
      if (entry.type === 'file' || childrenIn(tables, entry.id).length === 0) {
        tables.entries.delete(entry.id);
        releaseContent(tables, entry, options);
        return { sums: sumsOf(entry), group: undefined };
      }
      if (!options.recursive) throw notEmpty(path);
      const group = `#${entry.id}`;
      place(tables, entry, group);
      return { sums: NOTHING, group };
    });
  }

  reap(group: string, limit: number, replacing: Replacing): Promise<{ readonly sums: Sums; readonly isDone: boolean }> {
    return this.write((tables) => {
      let sums = NOTHING;
      let left = limit;
      for (const entry of childrenIn(tables, group).slice(0, limit)) {
        if (left <= 0) break;
        const below = childrenIn(tables, entry.id);
        for (const child of below.slice(0, left)) place(tables, child, group);
        left -= below.length;
        if (left < 0) break;
        tables.entries.delete(entry.id);
        releaseContent(tables, entry, replacing);
        sums = addSums(sums, sumsOf(entry));
        left -= 1;
      }
      return { sums, isDone: childrenIn(tables, group).length === 0 };
    });
  }

  detachedGroups(): Promise<readonly string[]> {
    return this.read(({ entries }) => [
      ...new Set([...entries.values()].map((row) => row.parentId).filter((parent) => parent.startsWith('#'))),
    ]);
  }

  retired(): Promise<readonly FileId[]> {
    return this.read(({ files }) =>
      [...files.values()].filter((file) => file.status === 'retired').map((file) => file.id),
    );
  }

  dropRetired(ids: readonly FileId[]): Promise<void> {
    return this.write((tables) => {
      for (const id of ids) {
        const file = tables.files.get(id);
        if (file?.status === 'retired') dropFile(tables, file);
      }
    });
  }

  account(owner: string): Promise<Account | undefined> {
    return this.read(({ accounts }) => accounts.get(owner));
  }

  setLimit(owner: string, limit: number | null, now: number): Promise<Account> {
    return this.write((tables) => {
      ensureAccount(tables, owner, now);
      const after = { used: 0, reserved: 0, createdAt: now, ...tables.accounts.get(owner), owner, limit };
      tables.accounts.set(owner, after);
      return after;
    });
  }

  recount(owner: string): Promise<{ account: Account | undefined; used: number; reserved: number }> {
    return this.read(({ accounts, files, uploads }) => {
      const own = [...files.values()].filter((file) => file.owner === owner);
      const ids = new Set(own.map((file) => file.id));
      const held = [...uploads.values()].filter((upload) => ids.has(upload.fileId));
      return {
        account: accounts.get(owner),
        used: own.filter((file) => file.status !== 'uploading').reduce((sum, file) => sum + file.size, 0),
        reserved: held.reduce((sum, upload) => sum + upload.reserved, 0),
      };
    });
  }
}

const pageOf = (entries: readonly EntryRecord[], { after, limit }: Page): EntryRecord[] =>
  entries.filter((entry) => Buffer.compare(Buffer.from(entry.name), Buffer.from(after)) > 0).slice(0, limit);

/** Ids are unique beside one another, names would not be. */
function place({ entries }: FileTables, { size: _size, ...row }: EntryRecord, group: string): void {
  entries.set(row.id, { ...row, parentId: group, name: row.id });
}
