/** The tables of files in memory, and how a file leaves them. */
import type { ChunkId, EntryId, FileId, NodeId, UploadId } from '../../shared/ids.js';
import type { Account, EntryRecord } from '../../controller/store/port/fs.js';
import type { FileRecord, ReplicaState, UploadRecord } from '../../controller/store/port/store.js';

/** A chunk with its copies by node. */
interface ChunkEntry {
  readonly id: ChunkId;
  readonly fileId: FileId;
  readonly index: number;
  size: number;
  offset: number;
  md5: string;
  readonly copies: Map<NodeId, ReplicaState>;
}

export interface FileTables {
  readonly files: Map<FileId, FileRecord>;
  readonly uploads: Map<UploadId, UploadRecord>;
  readonly entries: Map<EntryId, Omit<EntryRecord, 'size'>>;
  readonly accounts: Map<string, Account>;
  readonly chunks: Map<ChunkId, ChunkEntry>;
  /** By `<chunk>@<node>`. */
  readonly reasons: Map<string, string>;
}

export const emptyFileTables = (): FileTables => ({
  files: new Map(),
  uploads: new Map(),
  entries: new Map(),
  accounts: new Map(),
  chunks: new Map(),
  reasons: new Map(),
});

export type Run = <Result>(work: (tables: FileTables) => Result) => Promise<Result>;

export const entriesOf = ({ chunks }: FileTables, fileId: FileId): ChunkEntry[] =>
  [...chunks.values()].filter((chunk) => chunk.fileId === fileId).sort((one, other) => one.index - other.index);

export function doomFile(tables: FileTables, id: FileId): void {
  for (const chunk of entriesOf(tables, id)) for (const node of chunk.copies.keys()) chunk.copies.set(node, 'deleting');
  tables.files.delete(id);
  forgetBareChunks(tables);
}

/** Chunks without a copy that belong to no file any more. */
export function forgetBareChunks({ chunks, files }: FileTables): void {
  for (const chunk of chunks.values()) {
    const file = files.get(chunk.fileId);
    const isWanted = file?.status === 'uploading' || (file !== undefined && chunk.index < file.chunksCount);
    if (chunk.copies.size === 0 && !isWanted) chunks.delete(chunk.id);
  }
}
