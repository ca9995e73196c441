/**
 * Entries of the virtual file systems, and the accounts of each user's storage. Every change is one transaction that
 * resolves its paths itself, so that concurrent callers see each other's work completely or not at all.
 *
 * A path is a list of names; the empty one is the topmost folder, which always exists. Names are already validated.
 * Codes of all operations: not_found (a part of the path is missing), failed_precondition (a part of it is a file).
 */
import type { EntryId, FileId } from '../../../shared/ids.js';

export type EntryType = 'file' | 'folder';

export interface EntryRecord {
  readonly id: EntryId;
  readonly owner: string;
  /** Id of another entry, or the result of `topOf`. */
  readonly parentId: string;
  readonly name: string;
  readonly type: EntryType;
  /** The content; null for folders. */
  readonly fileId: FileId | null;
  /** Size of the content; 0 for folders. */
  readonly size: number;
  readonly createdAt: number;
  readonly modifiedAt: number;
}

export type Names = readonly string[];

/** Options of operations that replace or remove content. */
export interface Replacing {
  readonly now: number;
  /**
   * Returns true if nobody reads the file and nobody can begin to before the transaction ends: its content is then
   * removed at once. Otherwise the file is retired. Called within the transaction; must not wait.
   */
  readonly claim: (file: FileId) => boolean;
}

export interface Account {
  readonly owner: string;
  /** Bytes; null: the cluster's default; 0: no limit. */
  readonly limit: number | null;
  /** Bytes stored: ready files, and retired ones until they are removed. */
  readonly used: number;
  /** Bytes reserved for uploads. */
  readonly reserved: number;
  readonly createdAt: number;
}

export interface Sums {
  readonly files: number;
  readonly folders: number;
  readonly bytes: number;
}

/** Result of a removal, the rest of which is reaped in steps. */
export interface Detached {
  /** Sums of what was removed at once. */
  readonly sums: Sums;
  /** Group for `reap`; undefined if nothing is left. */
  readonly group: string | undefined;
}

export interface Page {
  /** The last name of the previous page; '' for the start. */
  readonly after: string;
  readonly limit: number;
}

export interface FsStore {
  /** Returns the existing entries along the path, without the topmost folder. Never fails. */
  find(owner: string, path: Names): Promise<readonly EntryRecord[]>;
  /** Lists by name, in byte order. `parent`: an entry, or the result of `topOf`. */
  children(parent: string, page: Page): Promise<readonly EntryRecord[]>;
  /** Those of these names that are in the folder, in no order. */
  named(parent: string, names: readonly string[]): Promise<readonly EntryRecord[]>;
  /** As `children`, but folders only. */
  folders(parent: string, page: Page): Promise<readonly EntryRecord[]>;
  /** Sums of a folder's direct entries. */
  sums(parent: string): Promise<Sums>;
  /** With `parents`, makes missing folders and returns an existing one; otherwise an existing one is already_exists. */
  makeFolder(owner: string, path: Names, options: { parents: boolean; now: number }): Promise<EntryRecord>;
  /**
   * Moves in time independent of the number of entries below. `to` is the new path itself. Codes: already_exists (a
   * file is there, without `overwrite`), failed_precondition (into itself, onto itself, a file onto a folder, a folder
   * onto a file or onto a folder that is not empty).
   */
  move(owner: string, from: Names, to: Names, options: Replacing & { overwrite: boolean }): Promise<EntryRecord>;
  /** Takes the entry out of the tree. Code: failed_precondition (a folder that is not empty, without `recursive`). */
  detach(owner: string, path: Names, options: Replacing & { recursive: boolean }): Promise<Detached>;
  /** Removes up to `limit` entries of a detached group; `isDone` when none is left. */
  reap(group: string, limit: number, replacing: Replacing): Promise<{ readonly sums: Sums; readonly isDone: boolean }>;
  /** Groups that still have entries to reap, such as those of a controller that ended. */
  detachedGroups(): Promise<readonly string[]>;
  retired(): Promise<readonly FileId[]>;
  /** Removes the content of these files, and their bytes from the account. Skips files that are not retired. */
  dropRetired(files: readonly FileId[]): Promise<void>;
  /** Undefined: the user has never stored anything. */
  account(owner: string): Promise<Account | undefined>;
  /** Bytes, 0 for no limit; null: the cluster's default from now on. */
  setLimit(owner: string, limit: number | null, now: number): Promise<Account>;
  /** Sums computed anew from files and uploads, in one snapshot with the account itself. */
  recount(owner: string): Promise<{ readonly account: Account | undefined; used: number; reserved: number }>;
}

/** Stands for a user's topmost folder where an entry's id is expected: no id has a tilde. */
export const topOf = (owner: string): string => `~${owner}`;
