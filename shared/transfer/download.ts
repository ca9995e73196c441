/**
 * Fetches a file's chunks, several at a time, and delivers them in order. A byte is delivered only after the MD5 of its
 * whole chunk was checked; a chunk that fails on one replica is fetched from the next.
 */
import type { Advice } from '../advice/advice.js';
import { onAbort } from '../async/wait.js';
import { systemClock } from '../async/clock.js';
import { NexusError, toNexusError } from '../errors.js';
import { CHUNK_SIZE_BYTES, CHUNK_TOKEN_TTL_MS } from '../limits.js';
import { ChunkBuffers } from './buffers.js';
import { chunksOf, type ByteRange, type ChunkedFile } from './chunk-range.js';
import { ChunkClient } from './chunk-client.js';
import { ChunkHasher } from './hasher.js';
import type { ChunkSource, DownloadCatalogue } from './port.js';

export interface DownloadRequest extends ChunkedFile {
  /** Delivers only these bytes. */
  readonly range?: ByteRange;
  /** Settles when the data may be overwritten. Called in order, one at a time. */
  readonly deliver: (data: Buffer) => Promise<void>;
  readonly signal: AbortSignal;
  readonly onProgress?: (bytes: number) => void;
}

/** One chunk is hashed or delivered while the next arrives; a third would cost memory and gain little. */
const CONCURRENT_GETS = 2;
/** Longest silence of a node while another replica is left to try. */
const STALL_TIMEOUT_MS = 5000;
const SOURCES_PER_PAGE = 64;
/** Tokens must still be valid when a slow chunk ends. */
const MAX_PAGE_AGE_MS = CHUNK_TOKEN_TTL_MS / 2;

/** Codes: data_loss (no replica is whole), unavailable (none can be reached), cancelled, those of the catalogue. */
export async function downloadFile(catalogue: DownloadCatalogue, request: DownloadRequest): Promise<void> {
  const client = new ChunkClient(CONCURRENT_GETS, catalogue.route);
  const hasher = new ChunkHasher();
  try {
    await new Download(catalogue, client, hasher, request).run();
  } finally {
    client.close();
    hasher.close();
  }
}

interface Fetched {
  /** Offset of the chunk's first byte in the file. */
  readonly offset: number;
  readonly buffer: Buffer;
  readonly size: number;
}

class Download {
  #buffers: ChunkBuffers | undefined;
  readonly #stop = new AbortController();
  #page: readonly ChunkSource[] = [];
  #pageAt = 0;

  constructor(
    private readonly catalogue: DownloadCatalogue,
    private readonly client: ChunkClient,
    private readonly hasher: ChunkHasher,
    private readonly request: DownloadRequest,
  ) {}

  async run(): Promise<void> {
    using _gone = onAbort(this.request.signal, (reason) => this.#stop.abort(reason));
    const window: Promise<Fetched>[] = [];
    try {
      // Chunks are checked whole, so those that a range touches are fetched whole.
      const { from, until } = await chunksOf(this.catalogue, this.request, this.request.range);
      let next = from;
      for (let index = from; index < until; index += 1) {
        while (next < until && window.length < CONCURRENT_GETS) {
          // Chunks that the cluster knows to be missing are reported before anything is delivered.
          window.push(this.#begin(await this.#source(next, until, next === from)));
          next += 1;
        }
        const fetched = await window.shift();
        if (fetched !== undefined) await this.#deliver(fetched);
      }
    } finally {
      this.#stop.abort();
      for (const left of await Promise.allSettled(window))
        if (left.status === 'fulfilled') this.#buffers?.give(left.value.buffer);
      this.#buffers?.close();
    }
  }

  /** Awaited later, in order. The no-op catch stops Node reporting an unhandled rejection meanwhile. */
  #begin(source: ChunkSource): Promise<Fetched> {
    const fetching = this.#fetch(source);
    fetching.catch(() => undefined);
    return fetching;
  }

  async #deliver({ offset, buffer, size }: Fetched): Promise<void> {
    const { start, end } = this.request.range ?? { start: 0, end: offset + size };
    const data = buffer.subarray(Math.max(0, start - offset), Math.max(0, Math.min(size, end - offset)));
    try {
      await this.request.deliver(data);
    } finally {
      this.#buffers?.give(buffer);
    }
    this.request.onProgress?.(data.length);
  }

  /** A controller of an earlier version names no offsets; then all but the last chunk are full. */
  #offsetOf({ index, offset = 0 }: ChunkSource): number {
    return this.request.hasExplicitSizes ? offset : index * CHUNK_SIZE_BYTES;
  }

  /** Never asks for chunks from `end` on: an unreadable one there must not fail this download. */
  async #source(index: number, end: number, isFirst: boolean): Promise<ChunkSource> {
    const known = this.#page.find((source) => source.index === index);
    if (known !== undefined && systemClock.monotonic() - this.#pageAt < MAX_PAGE_AGE_MS) return known;
    this.#pageAt = systemClock.monotonic();
    this.#page = await this.catalogue
      .chunkSources(this.request.fileId, index, Math.min(SOURCES_PER_PAGE, end - index), isFirst ? end : undefined)
      .catch((thrown: unknown) => {
        throw this.#advised(toNexusError(thrown));
      });
    const found = this.#page.find((source) => source.index === index);
    if (found === undefined)
      throw new NexusError(
        'data_loss',
        `chunk ${index} of file ${this.request.fileId} is not in the catalogue`,
        {},
        { advice: this.#adviceFor(index) },
      );
    return found;
  }

  /** Adds advice to data_loss: the lost chunk does not come back, but the rest of the file can be fetched. */
  #advised(error: NexusError): NexusError {
    const { chunk } = error.details;
    if (error.code !== 'data_loss' || typeof chunk !== 'number') return error;
    const advice = [...error.advice, ...this.#adviceFor(chunk)];
    return new NexusError(error.code, error.message, error.details, { cause: error, advice });
  }

  /**
   * Names the byte ranges around an unreadable chunk that may still be fetched; none for a file of one chunk, and where
   * they would have to be looked up.
   */
  #adviceFor(index: number): Advice[] {
    const { fileId, chunksCount, hasExplicitSizes } = this.request;
    if (chunksCount === 1 || hasExplicitSizes) return [];
    const [before, after] = [index * CHUNK_SIZE_BYTES, (index + 1) * CHUNK_SIZE_BYTES];
    const ranges = [...(index > 0 ? [`0-${before - 1}`] : []), ...(index + 1 < chunksCount ? [`${after}-`] : [])];
    return [{ key: 'download-rest', file: fileId, ranges }];
  }

  async #fetch(source: ChunkSource): Promise<Fetched> {
    const isSmall = this.request.chunksCount === 1;
    const buffers = (this.#buffers ??= new ChunkBuffers(CONCURRENT_GETS, isSmall ? source.size : CHUNK_SIZE_BYTES));
    const buffer = await buffers.take();
    try {
      return await this.#fetchInto(buffer, source);
    } catch (error) {
      buffers.give(buffer);
      throw error;
    }
  }

  async #fetchInto(buffer: Buffer, source: ChunkSource): Promise<Fetched> {
    const failures: NexusError[] = [];
    for (const [at, target] of source.replicas.entries()) {
      // The last replica is given the longer default time.
      const idleTimeoutMs = at < source.replicas.length - 1 ? STALL_TIMEOUT_MS : undefined;
      try {
        const size = await this.client.get(target, source.chunkId, buffer, this.#stop.signal, idleTimeoutMs);
        const md5 = await this.hasher.hash(buffer, size);
        if (md5 === source.md5 && size === source.size) return { offset: this.#offsetOf(source), buffer, size };
        failures.push(mismatch(source, target.nodeName, { size, md5 }));
        await this.catalogue.reportReplica(source.chunkId, target.nodeId);
      } catch (thrown) {
        const error = toNexusError(thrown);
        if (error.code === 'cancelled') throw error;
        if (error.code === 'data_loss' || error.code === 'not_found')
          await this.catalogue.reportReplica(source.chunkId, target.nodeId);
        failures.push(error.during(`node ${target.nodeName}`));
      }
    }
    throw allFailed(this.request.fileId, source, failures, this.#adviceFor(source.index));
  }
}

const mismatch = (source: ChunkSource, node: string, found: { md5: string; size: number }): NexusError =>
  new NexusError(
    'data_loss',
    `node ${node} has ${found.size} bytes with MD5 ${found.md5}, stored were ${source.size} with ${source.md5}`,
  );

/**
 * Damage outweighs silence: a silent node may come back with the chunk, whereas a damaged one does not heal. A node's
 * not_found says nothing of the file, which exists: when all nodes report it, the chunk is lost (data_loss).
 */
function allFailed(
  fileId: string,
  source: ChunkSource,
  failures: readonly NexusError[],
  advice: readonly Advice[],
): NexusError {
  const damage = failures.find((failure) => failure.code === 'data_loss');
  const code = (damage ?? failures.find((failure) => failure.code !== 'not_found'))?.code ?? 'data_loss';
  const said = failures.map((failure) => failure.message).join('; ') || 'no node has it';
  return new NexusError(
    code,
    `file ${fileId}: chunk ${source.index} (${source.chunkId}) cannot be read: ${said}`,
    {
      file: fileId,
      chunk: source.index,
      chunk_id: source.chunkId,
    },
    { advice: code === 'data_loss' ? advice : [] },
  );
}
