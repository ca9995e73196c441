/**
 * Copies of published chunks, for repair, drain, scrub and rebalance. Every change is one transaction that checks its
 * assumptions: files can be removed and nodes forgotten at any time.
 */
import type { ChunkId, FileId, NodeId } from '../../../shared/ids.js';
import type { ReplicaRecord, ReplicaState } from './records.js';

/** A chunk of a published file. */
export interface StoredChunk {
  readonly id: ChunkId;
  readonly fileId: FileId;
  readonly index: number;
  readonly size: number;
  readonly md5: string;
  /** Number of copies that the file should have. */
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
  /** No copy is left, or only copies that their nodes have lost. */
  readonly gone: number;
  /** The file was restored without some of its chunks. */
  readonly isPartial: boolean;
}

export interface ReplicaStore {
  /** Chunks in order of id, above `after` ('' for the start). */
  walk(page: { readonly after: string; readonly limit: number }): Promise<readonly StoredChunk[]>;
  /** Returns the files that can't be read completely from the nodes `readable`. At most 1,000 files per call. */
  troubles(files: readonly FileId[], readable: readonly NodeId[]): Promise<ReadonlyMap<FileId, FileTrouble>>;
  /** The first chunk of a file from `from` up to before `to` without a whole copy on the nodes `readable`. */
  firstUnreadable(
    file: FileId,
    range: { readonly from: number; readonly to: number },
    readable: readonly NodeId[],
  ): Promise<number | undefined>;
  /** undefined if no published file has the chunk. */
  find(chunk: ChunkId): Promise<StoredChunk | undefined>;
  /** Whole copies on one node, in order of chunk id, above `after`. */
  readyOn(
    node: NodeId,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly Omit<StoredChunk, 'replicas' | 'wanted'>[]>;
  /** As `readyOn`, but copies thought to be missing or corrupt. */
  badOn(
    node: NodeId,
    page: { readonly after: string; readonly limit: number },
  ): Promise<readonly Omit<StoredChunk, 'replicas' | 'wanted'>[]>;
  /** Counts copies on one node that are whole or damaged. Repair drops the damaged ones that are whole elsewhere. */
  countOn(node: NodeId): Promise<{ readonly chunks: number; readonly bytes: number }>;
  /** Returns those of these chunks that have a copy on the node in any state, or are to get one. */
  knownOn(node: NodeId, chunks: readonly ChunkId[]): Promise<ReadonlySet<ChunkId>>;
  /**
   * Records a copy before it is written. Codes: not_found (its file is gone), already_exists (the node has one in any
   * state).
   */
  begin(copy: CopyOf, reason: string): Promise<void>;
  /** Marks a begun copy as whole. False: it is no longer wanted. */
  settle(copy: CopyOf): Promise<boolean>;
  /** Gives up a copy that was begun, with any part already written. False: there is none. */
  abandon(copy: CopyOf): Promise<boolean>;
  /** Marks a copy as bad that was thought whole. False: there is no such copy. */
  markBad(copy: CopyOf, state: 'missing' | 'corrupt'): Promise<boolean>;
  /** Marks a copy as whole that was thought bad. False: there is no such copy. */
  markWhole(copy: CopyOf): Promise<boolean>;
  /** Drops a bad copy if a whole one is on another of the nodes `among`. */
  dropBad(copy: CopyOf, among: readonly NodeId[]): Promise<boolean>;
  /** Drops a whole copy if at least `least` others are on the nodes `among`. */
  dropSurplus(copy: CopyOf, among: readonly NodeId[], least: number): Promise<boolean>;
  /** Copies of published files that were begun and are neither whole nor abandoned. */
  begun(): Promise<readonly CopyOf[]>;
  /** Returns why each copy of these chunks is where it is; empty if unknown. */
  reasons(chunks: readonly ChunkId[]): Promise<readonly (CopyOf & { readonly reason: string })[]>;
  /** Counts all copies, including those of uploads under way; states without copies are left out. */
  countStates(): Promise<ReadonlyMap<ReplicaState, number>>;
}

/** Numbers stored under a name, e.g. the time of a node's last scrub. */
export interface MarkStore {
  get(name: string): Promise<number | undefined>;
  set(name: string, value: number): Promise<void>;
}
