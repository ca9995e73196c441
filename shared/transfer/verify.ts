/** Reads every replica of a file and compares checksums; says which are wrong instead of stopping at the first. */
import { toNexusError } from '../errors.js';
import { CHUNK_SIZE_BYTES } from '../limits.js';
import { ChunkClient } from './chunk-client.js';
import { ChunkHasher } from './hasher.js';
import type { DownloadCatalogue } from './port.js';

export interface ReplicaFinding {
  readonly index: number;
  readonly chunkId: string;
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
    for (let from = 0; from < request.chunksCount; from += SOURCES_PER_PAGE) {
      for (const source of await catalogue.chunkSources(request.fileId, from, SOURCES_PER_PAGE)) {
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
    }
    return findings;
  } finally {
    client.close();
    hasher.close();
  }
}
