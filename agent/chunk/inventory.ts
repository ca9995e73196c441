/** Reading what a volume holds: the scan at start, which also clears what a crash left, and the sorted listing. */
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { NexusError } from '../../shared/errors.js';
import { isChunkId, type ChunkId } from '../../shared/ids.js';
import type { AgentLog } from '../log.js';
import { kindOf } from '../volume/regular-file.js';
import { chunkOfSidecar, readSidecar, type ChunkFacts, type ChunkLayout } from './layout.js';

export interface Totals {
  readonly chunks: number;
  readonly bytes: number;
}

/**
 * Makes the folders where they are missing, removes what an interrupted write or delete left, and counts the rest.
 * `onFailure` is asked about each part that can't be read, and throws unless the others are to be gone on with.
 */
export async function recoverInventory(
  layout: ChunkLayout,
  log: AgentLog,
  onFailure: (error: unknown) => void,
): Promise<Totals> {
  await removeLeftovers(layout, log).catch(onFailure);
  let chunks = 0;
  let bytes = 0;
  for (const folder of (await chunkFolders(layout).catch(onFailure)) ?? []) {
    const found = await recoverFolder(join(layout.chunksDir, folder), log).catch(onFailure);
    chunks += found?.chunks ?? 0;
    bytes += found?.bytes ?? 0;
  }
  return { chunks, bytes };
}

async function removeLeftovers(layout: ChunkLayout, log: AgentLog): Promise<void> {
  await mkdir(layout.chunksDir, { recursive: true, mode: 0o700 });
  await mkdir(layout.temporaryDir, { recursive: true, mode: 0o700 });
  const leftovers = await readdir(layout.temporaryDir);
  for (const name of leftovers) await rm(join(layout.temporaryDir, name), { recursive: true, force: true });
  if (leftovers.length > 0) log.info({ count: leftovers.length }, 'removed unfinished writes');
}

/** Whatever else a node's own programs have put there is none of ours. */
const chunkFolders = async (layout: ChunkLayout): Promise<string[]> =>
  (await readdir(layout.chunksDir, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{2}$/.test(entry.name))
    .map(({ name }) => name);

async function recoverFolder(path: string, log: AgentLog): Promise<Totals> {
  const names = new Set(await readdir(path));
  let chunks = 0;
  let bytes = 0;
  for (const name of names) {
    const described = chunkOfSidecar(name);
    // A delete takes the chunk first: a sidecar alone is the rest of one that was interrupted.
    if (described !== undefined && !names.has(described)) await rm(join(path, name), { recursive: true, force: true });
    if (!isChunkId(name)) continue;
    if (names.has(`${name}.json`)) {
      chunks += 1;
      bytes += (await lstat(join(path, name))).size;
    } else {
      log.warn({ chunk: name }, 'a chunk without its sidecar does not count; it was not written by an agent');
    }
  }
  return { chunks, bytes };
}

export interface ListedChunk extends ChunkFacts {
  readonly chunk: ChunkId;
  /** Why nothing is known of it; undefined: it seems whole. */
  readonly damage?: string;
}

/**
 * At most `limit` chunks with ids above `after`, in order of id. Folder names are the ids' first digits, so walking
 * folders in order walks ids in order and nothing needs to be held in memory.
 */
export async function listChunks(layout: ChunkLayout, after: string, limit: number): Promise<ListedChunk[]> {
  const found: ListedChunk[] = [];
  const folders = (await chunkFolders(layout)).filter((folder) => folder >= after.slice(0, 2)).sort();
  for (const folder of folders) {
    const entries = await readdir(join(layout.chunksDir, folder), { withFileTypes: true });
    const irregular = new Map(entries.filter((entry) => !entry.isFile()).map((entry) => [entry.name, kindOf(entry)]));
    const ids = entries.map(({ name }) => name).filter(isChunkId);
    for (const chunk of ids.filter((id) => id > after).sort()) {
      if (found.length >= limit) return found;
      const facts = await readSidecar(layout, chunk).catch(damaged);
      const kind = irregular.get(chunk);
      const damage = kind === undefined ? {} : { damage: `it is ${kind}, not a regular file` };
      if (facts !== undefined) found.push({ chunk, ...facts, ...damage });
    }
  }
  return found;
}

/** One record that makes no sense is told as damaged; the rest of the list is as good as before. A disk that fails is another matter. */
function damaged(error: unknown): ChunkFacts & { readonly damage: string } {
  if (!(error instanceof NexusError) || error.code !== 'data_loss') throw error;
  return { size: 0, md5: '', written_at: '', damage: error.message };
}
