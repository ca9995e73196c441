/**
 * Entries of the virtual file systems, and the accounts of what each user stores. Every change is one transaction that
 * resolves its paths itself, so that two callers at once see each other's work whole or not at all.
 *
 * A path is the list of its names; none is the topmost folder, which is always there. Names are checked already.
 * Codes everywhere: not_found (a part of the path is missing), failed_precondition (a part of it is a file).
 */
import type { EntryId, FileId } from '../../../shared/ids.js';

export type EntryType = 'file' | 'folder';

export interface EntryRecord {
  readonly id: EntryId;
  readonly owner: string;
  /** Another entry, or what `topOf` gives. */
  readonly parentId: string;
  readonly name: string;
  readonly type: EntryType;
  /** The content; null for folders. */
  readonly fileId: FileId | null;
  /** Of the content; 0 for folders. */
  readonly size: number;
  readonly createdAt: number;
  readonly modifiedAt: number;
}

export type Names = readonly string[];

/** What replaces or removes content asks about it first. */
export interface Replacing {
  readonly now: number;
  /**
   * Whether nobody reads the file any more and nobody will begin to until the transaction has ended: its content goes at
   * once. Otherwise the file is retired. Called within the transaction; must not wait.
   */
  readonly claim: (file: FileId) => boolean;
}

export interface Account {
  readonly owner: string;
  /** Bytes; null: the cluster's default; 0: none. */
  readonly limit: number | null;
  /** Sum of all that is stored: ready files, and retired ones until they go. */
  readonly used: number;
  /** Sum of what is held for uploads. */
  readonly reserved: number;
  readonly createdAt: number;
}

export interface Sums {
  readonly files: number;
  readonly folders: number;
  readonly bytes: number;
}

/** What a removal left to be taken away in steps. */
export interface Detached {
  /** What went at once. */
  readonly sums: Sums;
  /** Names what is left for `reap`; undefined: nothing is. */
  readonly group: string | undefined;
}

export interface Page {
  /** A name; '' for the start. */
  readonly after: string;
  readonly limit: number;
}

export interface FsStore {
  /** The entries along the path, as many as are there; the topmost folder is not among them. Never fails. */
  find(owner: string, path: Names): Promise<readonly EntryRecord[]>;
  /** By name, in the order of its bytes. `parent` is an entry or what `topOf` gives. */
  children(parent: string, page: Page): Promise<readonly EntryRecord[]>;
  /** As `children`, folders only. */
  folders(parent: string, page: Page): Promise<readonly EntryRecord[]>;
  /** Of a folder's own entries. */
  sums(parent: string): Promise<Sums>;
  /**
   * With `parents`, missing ones are made and a folder that is there is answered; otherwise one that is there is
   * already_exists.
   */
  makeFolder(owner: string, path: Names, options: { parents: boolean; now: number }): Promise<EntryRecord>;
  /**
   * In time that does not depend on what is below. `to` is the new path itself. Codes: already_exists (a file is there,
   * without `overwrite`), failed_precondition (into itself, onto itself, a file onto a folder, a folder onto a file or onto
   * a folder that is not empty).
   */
  move(owner: string, from: Names, to: Names, options: Replacing & { overwrite: boolean }): Promise<EntryRecord>;
  /** Takes the entry out of the tree. Code: failed_precondition (a folder that is not empty, without `recursive`). */
  detach(owner: string, path: Names, options: Replacing & { recursive: boolean }): Promise<Detached>;
  /** Takes away up to `limit` entries of what was detached; `isDone` when nothing is left of it. */
  reap(group: string, limit: number, replacing: Replacing): Promise<{ readonly sums: Sums; readonly isDone: boolean }>;
  /** What a controller that ended has left to reap. */
  detachedGroups(): Promise<readonly string[]>;
  retired(): Promise<readonly FileId[]>;
  /** Their content goes, and their bytes from the account. What is not retired is left alone. */
  dropRetired(files: readonly FileId[]): Promise<void>;
  /** Undefined: the user has never stored anything. */
  account(owner: string): Promise<Account | undefined>;
  /** Bytes, 0 for none; null: the cluster's default from now on. */
  setLimit(owner: string, limit: number | null, now: number): Promise<Account>;
  /** The sums of an account made anew from files and uploads, in one snapshot with the account itself. */
  recount(owner: string): Promise<{ readonly account: Account | undefined; used: number; reserved: number }>;
}

/** What stands for the topmost folder of a user where an entry's id is asked for: no id has a tilde. */
export const topOf = (owner: string): string => `~${owner}`;
