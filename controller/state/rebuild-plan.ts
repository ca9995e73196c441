/**
 * Files from chunks: each chunk's sidecar names its file and its index there. Nothing records that a file was complete,
 * so the verdict depends on how its chunks fit. Pure.
 */
import type { ChunkOrigin } from '../../shared/chunk-token.js';
import type { ChunkId, FileId, NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { ArchivedFile } from '../store/port/archive.js';

/** A copy found on a volume that is not in the catalogue. */
export interface FoundCopy {
  readonly nodeId: NodeId;
  readonly chunkId: ChunkId;
  readonly size: number;
  readonly md5: string;
  readonly of: ChunkOrigin | undefined;
}

/**
 * whole: the chunks are consecutive, and the last is shorter than the others or they add up to the expected size.
 * unproved: consecutive, all full, and no size was expected. partial: some are missing.
 */
export type Verdict = 'whole' | 'unproved' | 'partial';

export interface RebuiltFile extends ArchivedFile {
  readonly verdict: Verdict;
  readonly missing: readonly number[];
}

export interface RebuildPlan {
  readonly files: readonly RebuiltFile[];
  readonly warnings: readonly string[];
}

interface Chunk {
  readonly id: ChunkId;
  readonly of: ChunkOrigin;
  readonly size: number;
  readonly md5: string;
  readonly nodes: readonly NodeId[];
}

export function planRebuild(copies: readonly FoundCopy[]): RebuildPlan {
  const warnings: string[] = [];
  const nameless = copies.filter((copy) => copy.of === undefined).length;
  if (nameless > 0) warnings.push(`${nameless} chunk(s) have no record of their file, and were left alone`);
  const byFile = new Map<string, Map<ChunkId, FoundCopy[]>>();
  for (const copy of copies) {
    if (copy.of === undefined) continue;
    const chunks = byFile.get(copy.of.file) ?? new Map<ChunkId, FoundCopy[]>();
    chunks.set(copy.chunkId, [...(chunks.get(copy.chunkId) ?? []), copy]);
    byFile.set(copy.of.file, chunks);
  }
  const files = [...byFile].map(([id, chunks]) => {
    const agreed = [...chunks.values()].map((found) => agree(found, warnings));
    return rebuild(id as FileId, onePerIndex(agreed, warnings), warnings);
  });
  return { files: files.sort((a, b) => (a.file.id < b.file.id ? -1 : 1)), warnings };
}

/** Decides by majority among the copies of a chunk. Copies that differ are left alone, with a warning. */
function agree(copies: readonly FoundCopy[], warnings: string[]): Chunk {
  const votes = new Map<string, FoundCopy[]>();
  for (const copy of copies) {
    const key = `${copy.size} ${copy.md5} ${copy.of?.index ?? ''} ${copy.of?.offset ?? ''}`;
    votes.set(key, [...(votes.get(key) ?? []), copy]);
  }
  const [most = []] = [...votes.values()].sort(
    (a, b) => b.length - a.length || offsets(b) - offsets(a) || compare(keyOf(a), keyOf(b)),
  );
  const [first] = most;
  if (first?.of === undefined) throw new Error('a chunk without copies');
  const others = copies.filter((copy) => !most.includes(copy));
  for (const { chunkId, nodeId } of others)
    warnings.push(`chunk ${chunkId} on node ${nodeId} differs from its other copies, and was left alone`);
  const nodes = [...new Set(most.map((copy) => copy.nodeId))].sort();
  return { id: first.chunkId, of: first.of, size: first.size, md5: first.md5, nodes };
}

/** Agents of earlier versions record no offset with a copy that they make. */
const offsets = ([copy]: readonly FoundCopy[]): number => (copy?.of?.offset === undefined ? 0 : 1);
const keyOf = ([copy]: readonly FoundCopy[]): string => `${copy?.md5 ?? ''} ${copy?.nodeId ?? ''}`;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function onePerIndex(chunks: readonly Chunk[], warnings: string[]): Chunk[] {
  const byIndex = new Map<number, Chunk>();
  for (const chunk of [...chunks].sort((a, b) => b.nodes.length - a.nodes.length || compare(a.id, b.id))) {
    const { index, file } = chunk.of;
    if (byIndex.has(index)) warnings.push(`file ${file} has two chunks ${index}; ${chunk.id} was left alone`);
    else byIndex.set(index, chunk);
  }
  return [...byIndex.values()].sort((a, b) => a.of.index - b.of.index);
}

function rebuild(id: FileId, found: readonly Chunk[], warnings: string[]): RebuiltFile {
  const last = found.at(-1);
  if (last === undefined) throw new Error('a file without chunks');
  // A repair records the size of a committed file; the original upload may not have known it.
  const expected = found.reduce((most, chunk) => Math.max(most, chunk.of.expected), 0);
  const explicitSizes = 2 * found.filter((chunk) => chunk.of.offset !== undefined).length > found.length;
  const { chunks, chunksCount, extent } = (explicitSizes ? fitByOffset : fitByIndex)(found, last, expected);
  const fitting = new Set(chunks);
  for (const chunk of found.filter((one) => !fitting.has(one)))
    warnings.push(`chunk ${chunk.id} does not fit between the others of file ${id}, and was left alone`);
  const there = new Set(chunks.map((chunk) => chunk.of.index));
  const missing = Array.from({ length: chunksCount }, (_, index) => index).filter((index) => !there.has(index));
  // A short chunk of explicit size need not be the last.
  const verdict = verdictOf(missing, extent, expected, explicitSizes ? CHUNK_SIZE_BYTES : last.size);
  const { name, owner, replicas, created } = last.of;
  return {
    file: {
      id,
      kind: 'raw',
      name,
      owner,
      size: verdict === 'partial' ? Math.max(extent, expected) : extent,
      chunksCount,
      replicas: Math.max(1, replicas),
      status: verdict === 'partial' ? 'partial' : 'ready',
      createdAt: created,
      explicitSizes,
    },
    chunks: chunks.map((chunk) => ({
      id: chunk.id,
      fileId: id,
      index: chunk.of.index,
      size: chunk.size,
      offset: explicitSizes ? offsetOf(chunk) : chunk.of.index * CHUNK_SIZE_BYTES,
      md5: chunk.md5,
      replicas: chunk.nodes.map((nodeId) => ({ nodeId, state: 'ready' as const })),
    })),
    verdict,
    missing,
  };
}

const offsetOf = ({ of }: Chunk): number => of.offset ?? -1;

interface Fitting {
  /** Those that fit together. */
  readonly chunks: readonly Chunk[];
  readonly chunksCount: number;
  /** The end of the last one. */
  readonly extent: number;
}

/** Leaves out chunks that are short and not the last. */
function fitByIndex(found: readonly Chunk[], last: Chunk, expected: number): Fitting {
  const chunksCount = Math.max(last.of.index + 1, Math.ceil(expected / CHUNK_SIZE_BYTES));
  return {
    chunks: found.filter((chunk) => chunk.of.index === chunksCount - 1 || chunk.size === CHUNK_SIZE_BYTES),
    chunksCount,
    extent: last.of.index * CHUNK_SIZE_BYTES + last.size,
  };
}

/** Leaves out chunks of explicit size that do not begin where the one before ends; behind a gap, those that overlap it. */
function fitByOffset(found: readonly Chunk[], last: Chunk, expected: number): Fitting {
  const chunks: Chunk[] = [];
  let extent = 0;
  for (const chunk of found) {
    const follows = chunk.of.index === (chunks.at(-1)?.of.index ?? -1) + 1;
    if (follows ? offsetOf(chunk) !== extent : offsetOf(chunk) <= extent) continue;
    chunks.push(chunk);
    extent = offsetOf(chunk) + chunk.size;
  }
  // The number of chunks that lack at the end is unknown: they count as one.
  const hasMore = chunks.at(-1) === last && extent < expected;
  return { chunks, chunksCount: last.of.index + (hasMore ? 2 : 1), extent };
}

function verdictOf(missing: readonly number[], extent: number, expected: number, lastSize: number): Verdict {
  if (missing.length > 0 || extent < expected) return 'partial';
  return extent === expected || lastSize < CHUNK_SIZE_BYTES ? 'whole' : 'unproved';
}
