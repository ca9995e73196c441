/** Everything that is kept, to be written down page by page and to be put back. */
import type { EntryId, FileId } from '../../../shared/ids.js';
import type { Account, EntryRecord } from './fs.js';
import type { ChunkRecord, FileRecord, NodeRecord } from './store.js';

/** A file that is not being uploaded, with its chunks. */
export interface ArchivedFile {
  readonly file: FileRecord;
  readonly chunks: readonly ChunkRecord[];
}

export type ArchivedEntry = Omit<EntryRecord, 'size'>;
/** Sums follow from the files. */
export type ArchivedAccount = Pick<Account, 'owner' | 'limit' | 'createdAt'>;

export interface ArchiveContent {
  readonly nodes: readonly NodeRecord[];
  readonly accounts: readonly ArchivedAccount[];
  readonly entries: readonly ArchivedEntry[];
  readonly files: readonly ArchivedFile[];
}

export interface ArchiveStore {
  /** Grows with every write: the same number means that nothing has changed. */
  revision(): number;
  accounts(): Promise<readonly ArchivedAccount[]>;
  /** In order of id, above `after` ('' for the start); those in a user's tree, not what is being removed. */
  entries(after: EntryId | '', limit: number): Promise<readonly ArchivedEntry[]>;
  /** As `entries`. */
  files(after: FileId | '', limit: number): Promise<readonly ArchivedFile[]>;
  /** Nothing is stored, and nothing being uploaded or removed. */
  isEmpty(): Promise<boolean>;
  /**
   * Puts all of it in, in one transaction, and adds the files to their owners' accounts.
   * Code: already_exists (a part of it is there).
   */
  restore(content: ArchiveContent): Promise<void>;
}
