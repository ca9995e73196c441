/**
 * Where things lie on a volume: chunks/<first two hex digits>/<chunk id> and, beside each chunk, <chunk id>.json with
 * what is known of it. The folder is the truth: a volume alone tells what it holds. A chunk without its sidecar was
 * never acknowledged and does not count.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChunkOrigin } from '../../shared/chunk-token.js';
import { NexusError } from '../../shared/errors.js';
import { isChunkId, type ChunkId } from '../../shared/ids.js';
import { readRegular } from '../volume/regular-file.js';

/** The sidecar's content. */
export interface ChunkFacts {
  readonly size: number;
  /** Lower-case hex. */
  readonly md5: string;
  /** ISO 8601. */
  readonly written_at: string;
  /** As its token said, which the controller had signed. */
  readonly of?: ChunkOrigin;
}

export const MD5_PATTERN = /^[0-9a-f]{32}$/;
const SIDECAR_SUFFIX = '.json';

export class ChunkLayout {
  readonly chunksDir: string;
  readonly temporaryDir: string;

  constructor(dataDir: string) {
    this.chunksDir = join(dataDir, 'chunks');
    this.temporaryDir = join(dataDir, 'tmp');
  }

  folder(chunk: ChunkId): string {
    return join(this.chunksDir, chunk.slice(0, 2));
  }

  chunk(chunk: ChunkId): string {
    return join(this.folder(chunk), chunk);
  }

  sidecar(chunk: ChunkId): string {
    return this.chunk(chunk) + SIDECAR_SUFFIX;
  }
}

/** The chunk that a sidecar's file name belongs to; undefined for any other file. */
export function chunkOfSidecar(fileName: string): ChunkId | undefined {
  if (!fileName.endsWith(SIDECAR_SUFFIX)) return undefined;
  const id = fileName.slice(0, -SIDECAR_SUFFIX.length);
  return isChunkId(id) ? id : undefined;
}

/** undefined: there is no such chunk. Codes: data_loss when the sidecar is damaged; what the system says when it can't be read. */
export async function readSidecar(layout: ChunkLayout, chunk: ChunkId): Promise<ChunkFacts | undefined> {
  const text = await readRegular(layout.sidecar(chunk), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error instanceof NexusError ? damagedSidecar(chunk, error) : error;
  });
  if (text === undefined) return undefined;
  try {
    return parseSidecar(text);
  } catch (error) {
    throw damagedSidecar(chunk, error);
  }
}

const damagedSidecar = (chunk: ChunkId, cause: unknown): NexusError =>
  new NexusError('data_loss', `chunk ${chunk}: its sidecar is damaged`, { chunk }, { cause });

function parseSidecar(text: string): ChunkFacts {
  const facts = JSON.parse(text) as Partial<ChunkFacts>;
  const { size, md5, written_at, of } = facts;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw new Error('size is malformed');
  if (typeof md5 !== 'string' || !MD5_PATTERN.test(md5)) throw new Error('md5 is malformed');
  return { size, md5, written_at: String(written_at), ...(of === undefined ? {} : { of }) };
}

/** Makes the names in a folder durable. Fails, and does not wait, where a named pipe has taken its place. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close().catch(() => undefined);
  }
}

/** A whole small file, durable when it resolves (its name is not: see `syncFolder`). */
export async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close().catch(() => undefined);
  }
}
