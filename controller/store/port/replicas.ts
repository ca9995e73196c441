/**
 * The copies of published chunks, as repair, drain, scrub and rebalance see and change them. Every change is one
 * transaction that checks what it relies on: files are removed and nodes forgotten at any moment.
 */
import type { ChunkId, FileId, NodeId } from '../../../shared/ids.js';
import type { ReplicaRecord, ReplicaState } from './store.js';

/** A chunk of a published file. */
export interface StoredChunk {
  readonly id: ChunkId;
  readonly fileId: FileId;
  readonly index: number;
  readonly size: number;
  readonly md5: string;
  /** Copies that its file should have. */
  readonly wanted: number;
  readonly replicas: readonly ReplicaRecord[];
}

export interface CopyOf {
  readonly chunkId: ChunkId;
  readonly nodeId: NodeId;
}

/** Chunks of one file that can't be read now, each counted under its worst reason. */
export interface FileTrouble {
  /** A whole copy is on a node that can't be read. */
  readonly unreachable: number;
  /** No whole copy is left, and a damaged one is. */
  readonly damaged: number;
  /** No copy is left, or none but what its node no longer has. */
  readonly gone: number;
  /** The file was put together without some of its chunks. */
  readonly isPartial: boolean;
}

export interface ReplicaStore {
  /** In order of id, above `after` ('' for the start). */
  walk(page: { readonly after: string; readonly limit: number }): Promise<readonly StoredChunk[]>;
  /** Of these files those that can't be read whole from the nodes `readable`; at most 1,000 files at a time. */
  troubles(files: readonly FileId[], readable: readonly NodeId[]): Promise<ReadonlyMap<FileId, FileTrouble>>;
  /** The first chunk of a file from `from` up to before `to` without a whole copy on the nodes `readable`. */
  firstUnreadable(
    file: FileId,
    range: { readonly from: number; readonly to: number },
    readable: readonly NodeId[],
  ): Promise<number | undefined>;
  /** undefined: no published file has it. */
  find(chunk: ChunkId): Promise<StoredChunk | undefined>;
  /** Whole copies on one node, in order of chunk id, above `after`. */
  readyOn(
    node: NodeId,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly Omit<StoredChunk, 'replicas' | 'wanted'>[]>;
  /** As `readyOn`, of copies that are thought missing or corrupt. */
  badOn(
    node: NodeId,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly Omit<StoredChunk, 'replicas' | 'wanted'>[]>;
  /** Copies on one node that are whole, or damaged: of those repair drops what is whole elsewhere. */
  countOn(node: NodeId): Promise<{ readonly chunks: number; readonly bytes: number }>;
  /** Which of these chunks have a copy on the node in any state, or are wanted there. */
  knownOn(node: NodeId, chunks: readonly ChunkId[]): Promise<ReadonlySet<ChunkId>>;
  /** A copy is going to be written. Codes: not_found (its file has gone), already_exists (the node has one in some state). */
  begin(copy: CopyOf, reason: string): Promise<void>;
  /** The copy is whole. False: it is not wanted any more. */
  settle(copy: CopyOf): Promise<boolean>;
  /** A copy that was begun goes, whatever of it was written. False: there is none. */
  abandon(copy: CopyOf): Promise<boolean>;
  /** A copy thought whole is not. False: it was no such copy. */
  markBad(copy: CopyOf, state: 'missing' | 'corrupt'): Promise<boolean>;
  /** A copy thought bad is whole. False: it was no such copy. */
  markWhole(copy: CopyOf): Promise<boolean>;
  /** A bad copy goes if a whole one is on another of the nodes `among`. */
  dropBad(copy: CopyOf, among: readonly NodeId[]): Promise<boolean>;
  /** A whole copy goes if `least` others are on the nodes `among`. */
  dropSurplus(copy: CopyOf, among: readonly NodeId[], least: number): Promise<boolean>;
  /** Copies of published files that were begun and are neither whole nor given up. */
  begun(): Promise<readonly CopyOf[]>;
  /** Why each copy of these chunks is where it is; empty where nothing was noted. */
  reasons(chunks: readonly ChunkId[]): Promise<readonly (CopyOf & { readonly reason: string })[]>;
  /** All copies, of uploads that are under way too; states that no copy is in are left out. */
  countStates(): Promise<ReadonlyMap<ReplicaState, number>>;
}

/** Numbers to remember under a name, e.g. when a node was last scrubbed. */
export interface MarkStore {
  get(name: string): Promise<number | undefined>;
  set(name: string, value: number): Promise<void>;
}
