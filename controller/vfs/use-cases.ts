/** The virtual file systems as the edge sees them: each user's own tree, within its quota. */
import { NexusError } from '../../shared/errors.js';
import { failpoint } from '../../shared/async/failpoint.js';
import type { LeaseId, UploadId } from '../../shared/ids.js';
import { afterCommit } from '../file/after-commit.js';
import type { FileDeps } from '../file/deps.js';
import { healthOfFiles, type FileHealth } from '../file/health.js';
import { quotaOf } from '../file/quota.js';
import type { Uploads } from '../file/upload.js';
import type { Account, EntryRecord, Names, Sums } from '../store/port/fs.js';
import { topOf } from '../store/port/fs.js';
import {
  addSums,
  expectEntry,
  expectFolder,
  folderInTheWay,
  NOTHING,
  pathOf,
  somethingAt,
  sumsOf,
} from '../store/port/fs-rules.js';
import type { FileRecord, UploadPlace, UploadRecord } from '../store/port/store.js';
import { SmallFiles } from './small-files.js';
import type { FsUpkeep } from './upkeep.js';

/** An entry and its path. */
export interface PlacedEntry {
  readonly entry: EntryRecord;
  readonly path: string;
}

export interface QuotaView {
  readonly user: string;
  /** Bytes; 0: no limit. */
  readonly limit: number;
  readonly used: number;
  readonly reserved: number;
  /** Sums computed anew, if requested. */
  readonly recounted: { readonly used: number; readonly reserved: number } | undefined;
}

/** Place of an upload whose path is given later. */
const UNPLACED: UploadPlace = { parentId: '', entryName: '', overwrite: false };
/** Name that agents store with chunks that come before the path. */
const UNPLACED_NAME = 'unnamed';
const ENTRIES_PER_PAGE = 256;
/** Attempts to pin: a file that is being replaced is available again after one transaction. */
const PIN_ATTEMPTS = 200;
const PIN_RETRY_MS = 5;

export class FsUseCases {
  readonly small: SmallFiles;

  constructor(
    private readonly deps: FileDeps,
    readonly uploads: Uploads,
    /** Called when there are chunks to delete. */
    private readonly kick: () => void,
    private readonly upkeep: Pick<FsUpkeep, 'reap'>,
  ) {
    this.small = new SmallFiles(deps, uploads, kick);
  }

  async makeFolder(user: string, path: Names, parents: boolean): Promise<PlacedEntry> {
    const now = this.deps.clock.now();
    return { entry: await this.deps.fs.makeFolder(user, path, { parents, now }), path: pathOf(path) };
  }

  async stat(user: string, path: Names): Promise<PlacedEntry> {
    if (path.length === 0) return { entry: await this.#top(user), path: '/' };
    return { entry: expectEntry(await this.deps.fs.find(user, path), path), path: pathOf(path) };
  }

  /** Lists a folder; for a file, returns its own entry. `after`: last name of the previous page. */
  async list(user: string, path: Names, page: { after: string; limit: number }): Promise<readonly PlacedEntry[]> {
    const { entry, path: at } = await this.stat(user, path);
    if (entry.type === 'file') return [{ entry, path: at }];
    return placed(await this.deps.fs.children(entry.id, page), path);
  }

  /** Returns the health of each entry, in the given order; a folder is always ready. */
  async health(placed: readonly PlacedEntry[]): Promise<readonly FileHealth[]> {
    const ids = placed.flatMap(({ entry }) => (entry.fileId === null ? [] : [entry.fileId]));
    const health = await healthOfFiles(this.deps, ids);
    return placed.map(({ entry }) => (entry.fileId === null ? 'ready' : (health.get(entry.fileId) ?? 'ready')));
  }

  /** Yields entries a page at a time, each folder before its content. `maxDepth` 0: all levels. */
  async *walk(user: string, path: Names, maxDepth: number): AsyncGenerator<readonly PlacedEntry[]> {
    const { entry } = await this.stat(user, path);
    if (entry.type === 'file') return;
    const todo: { folder: string; path: Names; after: string }[] = [{ folder: entry.id, path, after: '' }];
    for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
      const { folder, path: way, after } = at;
      const entries = await this.deps.fs.children(folder, { after, limit: ENTRIES_PER_PAGE });
      if (entries.length > 0) yield placed(entries, way);
      const last = entries.at(-1);
      if (entries.length === ENTRIES_PER_PAGE && last !== undefined) todo.push({ folder, path: way, after: last.name });
      if (maxDepth !== 0 && way.length - path.length + 1 >= maxDepth) continue;
      for (const child of entries)
        if (child.type === 'folder') todo.push({ folder: child.id, path: [...way, child.name], after: '' });
    }
  }

  /** Sums up a folder without its own entry, or a single file. */
  async usage(user: string, path: Names): Promise<Sums> {
    const { entry } = await this.stat(user, path);
    if (entry.type === 'file') return sumsOf(entry);
    let sums = NOTHING;
    const todo = [entry.id as string];
    for (let folder = todo.pop(); folder !== undefined; folder = todo.pop()) {
      sums = addSums(sums, await this.deps.fs.sums(folder));
      for (let after = ''; ;) {
        const page = await this.deps.fs.folders(folder, { after, limit: ENTRIES_PER_PAGE });
        todo.push(...page.map((child) => child.id));
        const last = page.at(-1);
        if (page.length < ENTRIES_PER_PAGE || last === undefined) break;
        after = last.name;
      }
    }
    return sums;
  }

  /**
   * Rejects what the commit would reject, as far as that is known now; without a path, placeUpload does so.
   * Codes: also those of Uploads.open.
   */
  async openUpload(
    user: string,
    path: Names | undefined,
    request: {
      overwrite: boolean;
      parents: boolean;
      replicas: number;
      expectedSize: number;
      explicitSizes?: boolean;
    },
  ): Promise<{ upload: UploadRecord; file: FileRecord }> {
    const { replicas, expectedSize, explicitSizes } = request;
    const entry = path === undefined ? UNPLACED : await this.#place(user, path, request);
    const name = path?.at(-1) ?? UNPLACED_NAME;
    return await this.uploads.open({ name, owner: user, replicas, expectedSize, explicitSizes, entry });
  }

  /** Codes: not_found (the upload), failed_precondition (a raw file's), and those of openUpload for the path. */
  async placeUpload(
    user: string,
    id: UploadId,
    path: Names,
    request: { overwrite: boolean; parents: boolean },
  ): Promise<void> {
    await this.uploads.place(id, await this.#place(user, path, request), user);
  }

  async #place(user: string, path: Names, request: { overwrite: boolean; parents: boolean }): Promise<UploadPlace> {
    const { overwrite, parents } = request;
    const folder = path.slice(0, -1);
    const name = path.at(-1) ?? '';
    const found = await this.deps.fs.find(user, path);
    const there = found[path.length - 1];
    if (there?.type === 'folder') throw folderInTheWay(path);
    if (there !== undefined && !overwrite) throw somethingAt(path, 'file');
    let parentId: string = topOf(user);
    if (parents && folder.length > 0 && found.length < folder.length)
      parentId = (await this.makeFolder(user, folder, true)).entry.id;
    else parentId = expectFolder(found.slice(0, folder.length), folder)?.id ?? parentId;
    return { parentId, entryName: name, overwrite };
  }

  /** Pins the present content. Codes: not_found, failed_precondition (a folder), resource_exhausted, unavailable. */
  async openDownload(user: string, path: Names): Promise<PlacedEntry & { file: FileRecord; lease: LeaseId }> {
    const { fs, store, pins, clock } = this.deps;
    for (let attempt = 0; attempt < PIN_ATTEMPTS; attempt += 1) {
      const entry = expectEntry(await fs.find(user, path), path);
      if (entry.fileId === null) throw folderInTheWay(path);
      const lease = pins.pin(entry.fileId, user);
      const file = lease === undefined ? undefined : await store.getFile(entry.fileId);
      if (lease !== undefined && file !== undefined) return { entry, path: pathOf(path), file, lease };
      if (lease !== undefined) pins.unpin(lease, user);
      await clock.sleep(PIN_RETRY_MS);
    }
    throw new NexusError('unavailable', `${pathOf(path)} is being replaced repeatedly; try later`);
  }

  closeDownload(user: string, lease: LeaseId): void {
    this.deps.pins.unpin(lease, user);
  }

  async move(user: string, from: Names, to: Names, overwrite: boolean): Promise<PlacedEntry> {
    const { fs, pins, clock } = this.deps;
    const entry = await pins.during((claim) => fs.move(user, from, to, { overwrite, claim, now: clock.now() }));
    this.kick();
    return { entry, path: pathOf(to) };
  }

  /** Detaches the entry with all below it at once, then deletes these in steps. */
  async remove(user: string, path: Names, recursive: boolean): Promise<Sums> {
    const { fs, pins, events, clock } = this.deps;
    const { sums, group } = await pins.during((claim) => fs.detach(user, path, { recursive, claim, now: clock.now() }));
    failpoint('fs/detached');
    // Upkeep finishes what a failure leaves: all of it is detached from the tree already.
    const reap = (root: NonNullable<typeof group>): Promise<Sums | undefined> =>
      afterCommit(this.deps.log, 'take away all that was in a removed folder', () => this.upkeep.reap(root));
    const all = group === undefined ? sums : addSums(sums, (await reap(group)) ?? NOTHING);
    this.kick();
    const { files, folders, bytes } = all;
    const what = `${files} file(s) and ${folders} folder(s), ${bytes} bytes`;
    await events.append('fs.removed', pathOf(path), `${pathOf(path)} was removed: ${what}`, user);
    return all;
  }

  async quota(user: string, recount: boolean): Promise<QuotaView> {
    if (!recount) return this.#quotaView(user, await this.deps.fs.account(user), undefined);
    const { account, ...recounted } = await this.deps.fs.recount(user);
    return this.#quotaView(user, account, recounted);
  }

  async setQuota(user: string, limit: number): Promise<QuotaView> {
    return this.#quotaView(user, await this.deps.fs.setLimit(user, limit, this.deps.clock.now()), undefined);
  }

  #quotaView(user: string, account: Account | undefined, recounted: QuotaView['recounted']): QuotaView {
    const limit = account?.limit ?? quotaOf(user, this.deps.settings);
    return { user, limit, used: account?.used ?? 0, reserved: account?.reserved ?? 0, recounted };
  }

  /** Makes the entry of the top folder, which has no row of its own and is as old as the account. */
  async #top(user: string): Promise<EntryRecord> {
    const at = (await this.deps.fs.account(user))?.createdAt ?? this.deps.clock.now();
    const place = { id: topOf(user) as EntryRecord['id'], owner: user, parentId: '', name: '/' };
    return { ...place, type: 'folder', fileId: null, size: 0, createdAt: at, modifiedAt: at };
  }
}

const placed = (entries: readonly EntryRecord[], folder: Names): PlacedEntry[] =>
  entries.map((entry) => ({ entry, path: pathOf([...folder, entry.name]) }));
