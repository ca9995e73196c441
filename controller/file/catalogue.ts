/** Reading the catalogue: files by id or prefix, their chunks, and the right to fetch them. */
import { NexusError } from '../../shared/errors.js';
import type { FileId, LeaseId } from '../../shared/ids.js';
import { fullChunks, type ByteRange, type ChunkRange } from '../../shared/transfer/chunk-range.js';
import type { ChunkRecord, FileRecord, ReplicaRecord } from '../store/port/store.js';
import { noSuchFile } from '../store/port/file-rules.js';
import type { FileDeps } from './deps.js';
import { healthOfFiles, type FileHealth } from './health.js';
import { namedChunks } from './chunk-range.js';
import { readTarget, type ChunkTarget } from './tokens.js';

export interface ChunkSource {
  readonly chunk: ChunkRecord;
  readonly targets: readonly ChunkTarget[];
}

/** A file, and whether its bytes can be read. */
export interface ListedFile {
  readonly file: FileRecord;
  readonly health: FileHealth;
}

export interface FilePage {
  readonly files: readonly ListedFile[];
  /** Empty: this was the last page. */
  readonly nextPageToken: string;
}

/** Files of one name that are looked up: one more than an error names, to know that there are more. */
const MAX_NAMESAKES = 6;
const CHUNKS_PER_LOOKUP = 1000;

/** `owner`, in all methods: finds only that user's files; undefined: everybody's. */
export class Catalogue {
  constructor(private readonly deps: FileDeps) {}

  /** Finds a file by id, unique prefix of one, or unique name. Codes: not_found, invalid_argument (ambiguous). */
  async resolve(reference: string, owner?: string): Promise<FileRecord> {
    const found = await this.deps.store.findFiles(reference, owner);
    const [file, another] = found;
    if (file === undefined) return await this.#named(reference, owner);
    if (another === undefined || file.id === reference) return file;
    throw new NexusError(
      'invalid_argument',
      `"${reference}" could be ${file.id}, ${another.id} or more; give more of the id`,
    );
  }

  async #named(name: string, owner: string | undefined): Promise<FileRecord> {
    const found = await this.deps.store.filesNamed(name, MAX_NAMESAKES, owner);
    const [file, another] = found;
    if (file === undefined) throw noSuchFile(name);
    if (another === undefined) return file;
    const ids = found.slice(0, MAX_NAMESAKES - 1).map(({ id }) => id);
    const more = found.length === MAX_NAMESAKES ? ' and more' : '';
    const message = `several files are called "${name}": ${ids.join(', ')}${more} (the newest first); give the id of one`;
    throw new NexusError('invalid_argument', message, { ids });
  }

  /** Finds a file as `resolve` does, with its health. */
  async stat(reference: string, owner?: string): Promise<ListedFile> {
    const file = await this.resolve(reference, owner);
    const health = (await healthOfFiles(this.deps, [file.id])).get(file.id);
    return { file, health: health ?? 'ready' };
  }

  /**
   * Lists a page of files. `only` leaves out files of other health, so that any page may be short or empty. Code:
   * invalid_argument (a page token that is not ours).
   */
  async list(limit: number, pageToken: string, owner?: string, only?: readonly FileHealth[]): Promise<FilePage> {
    const after = pageToken === '' ? undefined : parsePageToken(pageToken);
    const found = await this.deps.store.listFiles({ limit, after, owner });
    const health = await healthOfFiles(
      this.deps,
      found.map((file) => file.id),
    );
    const files = found.map((file) => ({ file, health: health.get(file.id) ?? ('ready' as const) }));
    const last = found.at(-1);
    const isFull = found.length === limit && last !== undefined;
    return {
      files: only === undefined ? files : files.filter((file) => only.includes(file.health)),
      nextPageToken: isFull ? `${last.createdAt}-${last.id}` : '',
    };
  }

  async locate(reference: string, owner?: string): Promise<{ file: FileRecord; chunks: readonly ChunkRecord[] }> {
    const file = await this.resolve(reference, owner);
    const chunks: ChunkRecord[] = [];
    for (let from = 0; from < file.chunksCount; from += CHUNKS_PER_LOOKUP) {
      chunks.push(...(await this.deps.store.chunks(file.id, { from, count: CHUNKS_PER_LOOKUP })));
    }
    return { file, chunks };
  }

  /** Reasons for the placement of each copy, by `<chunk id>@<node id>`. */
  async reasons(chunks: readonly ChunkRecord[]): Promise<ReadonlyMap<string, string>> {
    const reasons = new Map<string, string>();
    for (let at = 0; at < chunks.length; at += CHUNKS_PER_LOOKUP) {
      const ids = chunks.slice(at, at + CHUNKS_PER_LOOKUP).map((chunk) => chunk.id);
      for (const { chunkId, nodeId, reason } of await this.deps.replicas.reasons(ids)) {
        reasons.set(`${chunkId}@${nodeId}`, reason);
      }
    }
    return reasons;
  }

  /**
   * Returns the copies on readable nodes, with tokens for `holder`. Codes: unavailable when no node with a copy of a
   * chunk can be read now, naming chunk and nodes; data_loss when no whole copy is left. Both are also thrown for later
   * chunks, up to but excluding `until`, so that a reader fails at the start and not midway.
   */
  async sources(
    reference: string,
    from: number,
    count: number,
    by: { readonly owner?: string; readonly lease?: LeaseId; readonly holder?: string; readonly until?: number } = {},
  ): Promise<{ file: FileRecord; sources: readonly ChunkSource[] }> {
    const file =
      by.lease === undefined ? await this.resolve(reference, by.owner) : await this.#leased(by.lease, by.owner);
    const end = Math.min(file.chunksCount, from + count);
    const chunks = end > from ? await this.deps.store.chunks(file.id, { from, count: end - from }) : [];
    const sources = chunks.map((chunk) => this.#source(file, chunk, by.holder));
    if (by.until !== undefined) await this.#assertReadable(file, { from, to: Math.min(file.chunksCount, by.until) });
    return { file, sources };
  }

  /** Finds the chunks that hold these bytes; what lies beyond the file's end is left out. Code: not_found. */
  async chunksOf(
    reference: string,
    { start, end }: ByteRange,
    by: { readonly owner?: string; readonly lease?: LeaseId } = {},
  ): Promise<ChunkRange> {
    const file =
      by.lease === undefined ? await this.resolve(reference, by.owner) : await this.#leased(by.lease, by.owner);
    const range = { start, end: Math.min(end, file.size) };
    if (!file.explicitSizes) return fullChunks(range);
    const offsetOf = async (index: number): Promise<number> => (await this.#next(file, index))?.offset ?? file.size;
    const found = await namedChunks(file.chunksCount, offsetOf, range);
    if (file.status !== 'partial' || found.until === 0) return found;
    const last = await this.#next(file, found.until - 1);
    if (last !== undefined && last.offset + last.size >= range.end) return found;
    // The gap behind the last chunk holds some of the bytes.
    return { ...found, until: (await this.#next(file, found.until))?.index ?? file.chunksCount };
  }

  /** Returns the chunk of this index; of a file with gaps, the first one from there on. */
  async #next({ id, chunksCount, status }: FileRecord, index: number): Promise<ChunkRecord | undefined> {
    const count = status === 'partial' ? CHUNKS_PER_LOOKUP : 1;
    for (let from = index; from < chunksCount; from += count) {
      const [chunk] = await this.deps.store.chunks(id, { from, count });
      if (chunk !== undefined) return chunk;
    }
    return undefined;
  }

  async #assertReadable(file: FileRecord, range: { readonly from: number; readonly to: number }): Promise<void> {
    if (range.from >= range.to) return;
    if (file.status === 'partial') await this.#assertAllThere(file, range);
    const readable = this.deps.nodes.snapshot().filter((node) => node.readable);
    const ids = readable.map((node) => node.id);
    const index = await this.deps.replicas.firstUnreadable(file.id, range, ids);
    if (index === undefined) return;
    const [chunk] = await this.deps.store.chunks(file.id, { from: index, count: 1 });
    // It may have been repaired or removed meanwhile; reading on will show.
    if (chunk !== undefined) this.#source(file, chunk, undefined);
  }

  /** A file that was rebuilt from the contents of volumes may have gaps. Code: data_loss. */
  async #assertAllThere(file: FileRecord, { from, to }: { readonly from: number; readonly to: number }): Promise<void> {
    for (let at = from; at < to; at += CHUNKS_PER_LOOKUP) {
      const end = Math.min(to, at + CHUNKS_PER_LOOKUP);
      const there = new Set((await this.deps.store.chunks(file.id, { from: at, count: end - at })).map((c) => c.index));
      for (let index = at; index < end; index += 1) {
        if (there.has(index)) continue;
        const message = `chunk ${index} of file ${file.id} was on no volume when the file was restored`;
        throw new NexusError('data_loss', message, { file: file.id, chunk: index });
      }
    }
  }

  /** Finds content that has been replaced or removed since, too. Code: not_found. */
  async #leased(lease: LeaseId, owner: string | undefined): Promise<FileRecord> {
    const id = this.deps.pins.use(lease, owner);
    const file = await this.deps.store.getFile(id);
    if (file === undefined) throw noSuchFile(id);
    return file;
  }

  #source(file: FileRecord, chunk: ChunkRecord, holder: string | undefined): ChunkSource {
    const ready = chunk.replicas.filter((replica) => replica.state === 'ready');
    const readable = ready
      .map((replica) => this.deps.nodes.find(replica.nodeId))
      .filter((node) => node !== undefined)
      .filter((node) => node.readable);
    if (readable.length === 0) throw this.#unreadable(file, chunk, ready);
    // Readers try copies in this order; rotating it spreads first reads evenly over the copies.
    const first = chunk.index % readable.length;
    const ordered = [...readable.slice(first), ...readable.slice(0, first)];
    return { chunk, targets: ordered.map((node) => readTarget(this.deps, chunk, node, holder)) };
  }

  #unreadable(file: FileRecord, chunk: ChunkRecord, ready: readonly ReplicaRecord[]): NexusError {
    const what = `chunk ${chunk.index} of file ${file.id}`;
    const details = { file: file.id, chunk: chunk.index, chunk_id: chunk.id };
    const bad = chunk.replicas.filter((replica) => replica.state === 'corrupt' || replica.state === 'missing');
    if (ready.length === 0 && bad.length > 0) {
      const held = bad.map(({ nodeId, state }) => `${state} on node ${this.deps.nodes.find(nodeId)?.name ?? nodeId}`);
      const message = `${what} (${chunk.id}) is ${held.join(', ')}, and no other copy is left; store the file again`;
      return new NexusError('data_loss', message, details);
    }
    if (ready.length === 0) {
      return new NexusError(
        'data_loss',
        `${what} is on no node any more: the last node that had it was removed`,
        details,
      );
    }
    const holders = ready.map(({ nodeId }) => this.deps.nodes.find(nodeId));
    const names = ready.map(({ nodeId }, at) => holders[at]?.name ?? nodeId);
    // A node that was stopped on purpose needs a start, a silent or broken one a restart.
    const key = holders[0]?.standing === 'away' ? 'restart-node' : 'start-node';
    const message = `${what} is on ${names.join(', ')} only, which cannot be read now`;
    const advice = { key, node: names[0] ?? '' } as const;
    return new NexusError('unavailable', message, { ...details, nodes: names }, { advice });
  }
}

function parsePageToken(token: string): { createdAt: number; id: FileId } {
  const [, at = '', id = ''] = /^(\d{1,16})-([0-9a-f]{16})$/.exec(token) ?? [];
  if (id === '') throw new NexusError('invalid_argument', 'page_token is not valid; leave it out to start over');
  return { createdAt: Number(at), id: id as FileId };
}
