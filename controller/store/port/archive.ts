/** Reads out everything that is stored, page by page, and puts it back. */
import type { EntryId, FileId } from '../../../shared/ids.js';
import type { Account, EntryRecord } from './fs.js';
import type { ChunkRecord, FileRecord, NodeRecord } from './records.js';

/** A file that is not being uploaded, with its chunks. */
export interface ArchivedFile {
  readonly file: FileRecord;
  readonly chunks: readonly ChunkRecord[];
}

export type ArchivedEntry = Omit<EntryRecord, 'size'>;
/** Without the sums, which follow from the files. */
export type ArchivedAccount = Pick<Account, 'owner' | 'limit' | 'createdAt'>;

export interface ArchiveContent {
  readonly nodes: readonly NodeRecord[];
  readonly accounts: readonly ArchivedAccount[];
  readonly entries: readonly ArchivedEntry[];
  readonly files: readonly ArchivedFile[];
}

export interface ArchiveStore {
  /** Grows with every write: an equal number means that nothing has changed. */
  revision(): number;
  accounts(): Promise<readonly ArchivedAccount[]>;
  /** Entries in order of id, above `after` ('' for the start), including those that are being removed. */
  entries(after: EntryId | '', limit: number): Promise<readonly ArchivedEntry[]>;
  /** As `entries`. */
  files(after: FileId | '', limit: number): Promise<readonly ArchivedFile[]>;
  /** Whether nothing is stored, being uploaded or being removed. */
  isEmpty(): Promise<boolean>;
  /**
   * Inserts everything in one transaction, and adds the files to their owners' accounts. Code: already_exists (for any
   * part).
   */
  restore(content: ArchiveContent): Promise<void>;
}
