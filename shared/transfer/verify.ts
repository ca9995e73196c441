/**
 * Reads every replica of a file and compares checksums; says which are wrong, and which chunks have none that can be read,
 * instead of stopping at the first.
 */
import { toNexusError } from '../errors.js';
import { CHUNK_SIZE_BYTES } from '../limits.js';
import { ChunkClient } from './chunk-client.js';
import { ChunkHasher } from './hasher.js';
import type { ChunkSource, DownloadCatalogue } from './port.js';

export interface ReplicaFinding {
  readonly index: number;
  readonly chunkId: string;
  /** Empty: no replica of the chunk can be read. */
  readonly node: string;
  /** Empty: whole. */
  readonly problem: string;
}

const SOURCES_PER_PAGE = 64;

/** Codes: those of the catalogue; cancelled. */
export async function verifyFile(
  catalogue: DownloadCatalogue,
  request: {
    readonly fileId: string;
    readonly chunksCount: number;
    readonly signal: AbortSignal;
    readonly onProgress?: (bytes: number) => void;
  },
): Promise<readonly ReplicaFinding[]> {
  const client = new ChunkClient(1, catalogue.route);
  const hasher = new ChunkHasher();
  const buffer = Buffer.from(new SharedArrayBuffer(CHUNK_SIZE_BYTES));
  const findings: ReplicaFinding[] = [];
  try {
    for (let from = 0; from < request.chunksCount;) {
      const { sources, unreadable } = await page(catalogue, request.fileId, from, SOURCES_PER_PAGE);
      from = unreadable === undefined ? from + SOURCES_PER_PAGE : unreadable.index + 1;
      for (const source of sources) {
        for (const target of source.replicas) {
          const problem = await client.get(target, source.chunkId, buffer, request.signal).then(
            async (size) => {
              const md5 = await hasher.hash(buffer, size);
              return md5 === source.md5 && size === source.size ? '' : `MD5 ${md5}, stored was ${source.md5}`;
            },
            (thrown: unknown) => {
              const error = toNexusError(thrown);
              if (error.code === 'cancelled') throw error;
              return error.message;
            },
          );
          findings.push({ index: source.index, chunkId: source.chunkId, node: target.nodeName, problem });
        }
        request.onProgress?.(source.size);
      }
      if (unreadable !== undefined) findings.push(unreadable);
    }
    return findings;
  } finally {
    client.close();
    hasher.close();
  }
}

interface Page {
  readonly sources: readonly ChunkSource[];
  /** The chunk at which the page ends. */
  readonly unreadable: ReplicaFinding | undefined;
}

/** The catalogue refuses a page for one chunk without a readable replica: what comes before it is asked for alone. */
async function page(catalogue: DownloadCatalogue, fileId: string, from: number, count: number): Promise<Page> {
  try {
    return { sources: await catalogue.chunkSources(fileId, from, count), unreadable: undefined };
  } catch (thrown) {
    const { details, message } = toNexusError(thrown);
    const { chunk: index, chunk_id: chunkId } = details;
    if (typeof index !== 'number' || index < from || index >= from + count) throw thrown;
    const unreadable = { index, chunkId: String(chunkId), node: '', problem: message };
    if (index === from) return { sources: [], unreadable };
    const before = await page(catalogue, fileId, from, index - from);
    return before.unreadable === undefined ? { ...before, unreadable } : before;
  }
}
