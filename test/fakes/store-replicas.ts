/** The copies of published chunks in memory: the same promises as replica-store.ts, on the fake's tables. */
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, FileId, NodeId } from '../../shared/ids.js';
import { chunkRecords } from './store-files.js';
import { forgetBareChunks, type FileTables, type Run } from './store-tables.js';
import type { ReplicaState } from '../../controller/store/port/store.js';
import type { CopyOf, FileTrouble, ReplicaStore, StoredChunk } from '../../controller/store/port/replicas.js';

type Page = { readonly after: string; readonly limit: number };
type ChunkFacts = Omit<StoredChunk, 'replicas' | 'wanted'>;

export class FakeReplicaStore implements ReplicaStore {
  constructor(
    private readonly read: Run,
    private readonly write: Run,
  ) {}

  walk({ after, limit }: { after: string; limit: number }): Promise<readonly StoredChunk[]> {
    return this.read((tables) =>
      published(tables)
        .filter((chunk) => chunk.id > after)
        .slice(0, limit),
    );
  }

  find(chunk: ChunkId): Promise<StoredChunk | undefined> {
    return this.read((tables) => published(tables).find(({ id }) => id === chunk));
  }

  readyOn(node: NodeId, page: Page): Promise<readonly ChunkFacts[]> {
    return this.#copiesOn(node, ['ready'], page);
  }

  badOn(node: NodeId, page: Page): Promise<readonly ChunkFacts[]> {
    return this.#copiesOn(node, ['missing', 'corrupt'], page);
  }

  #copiesOn(node: NodeId, states: readonly ReplicaState[], { after, limit }: Page): Promise<readonly ChunkFacts[]> {
    return this.read((tables) =>
      published(tables)
        .filter((chunk) => chunk.id > after && chunk.replicas.some((copy) => isOn(copy, node, states)))
        .slice(0, limit)
        .map(({ id, fileId, index, size, md5 }) => ({ id, fileId, index, size, md5 })),
    );
  }

  countOn(node: NodeId): Promise<{ readonly chunks: number; readonly bytes: number }> {
    return this.read((tables) => {
      const chunks = published(tables).filter((chunk) =>
        chunk.replicas.some((copy) => isOn(copy, node, ['ready', 'corrupt'])),
      );
      return { chunks: chunks.length, bytes: chunks.reduce((sum, chunk) => sum + chunk.size, 0) };
    });
  }

  knownOn(node: NodeId, chunks: readonly ChunkId[]): Promise<ReadonlySet<ChunkId>> {
    return this.read((tables) => new Set(chunks.filter((id) => tables.chunks.get(id)?.copies.has(node) === true)));
  }

  begin({ chunkId, nodeId }: CopyOf, reason: string): Promise<void> {
    return this.write((tables) => {
      const chunk = published(tables).find(({ id }) => id === chunkId);
      if (chunk === undefined) throw new NexusError('not_found', `chunk ${chunkId} belongs to no file any more`);
      if (chunk.replicas.some((copy) => copy.nodeId === nodeId)) {
        throw new NexusError('already_exists', `node ${nodeId} has a copy of chunk ${chunkId} already`);
      }
      tables.chunks.get(chunkId)?.copies.set(nodeId, 'writing');
      tables.reasons.set(`${chunkId}@${nodeId}`, reason);
    });
  }

  settle(copy: CopyOf): Promise<boolean> {
    return this.write((tables) => setState(tables, copy, ['writing'], 'ready'));
  }

  abandon(copy: CopyOf): Promise<boolean> {
    return this.write((tables) => {
      const changed = setState(tables, copy, ['writing'], 'deleting');
      forgetBareChunks(tables);
      return changed;
    });
  }

  markBad(copy: CopyOf, state: 'missing' | 'corrupt'): Promise<boolean> {
    return this.write((tables) => setState(tables, copy, ['ready'], state));
  }

  markWhole(copy: CopyOf): Promise<boolean> {
    return this.write((tables) => setState(tables, copy, ['missing', 'corrupt'], 'ready'));
  }

  dropBad(copy: CopyOf, among: readonly NodeId[]): Promise<boolean> {
    return this.write(
      (tables) => readyElsewhere(tables, copy, among) > 0 && setState(tables, copy, ['missing', 'corrupt'], 'deleting'),
    );
  }

  dropSurplus(copy: CopyOf, among: readonly NodeId[], least: number): Promise<boolean> {
    return this.write(
      (tables) => readyElsewhere(tables, copy, among) >= least && setState(tables, copy, ['ready'], 'deleting'),
    );
  }

  begun(): Promise<readonly CopyOf[]> {
    return this.read((tables) =>
      published(tables).flatMap((chunk) =>
        chunk.replicas.filter((copy) => copy.state === 'writing').map(({ nodeId }) => ({ chunkId: chunk.id, nodeId })),
      ),
    );
  }

  reasons(chunks: readonly ChunkId[]): Promise<readonly (CopyOf & { readonly reason: string })[]> {
    return this.read((tables) =>
      [...chunks]
        .sort()
        .flatMap((chunkId) =>
          [...(tables.chunks.get(chunkId)?.copies.keys() ?? [])]
            .sort()
            .map((nodeId) => ({ chunkId, nodeId, reason: tables.reasons.get(`${chunkId}@${nodeId}`) ?? '' })),
        ),
    );
  }

  troubles(files: readonly FileId[], readable: readonly NodeId[]): Promise<ReadonlyMap<FileId, FileTrouble>> {
    return this.read((tables) => {
      const found = new Map<FileId, FileTrouble>();
      const chunks = published(tables);
      for (const id of files) {
        const bad = chunks.filter((chunk) => chunk.fileId === id && !isReadable(chunk, readable));
        const has = (chunk: StoredChunk, state: ReplicaState): boolean =>
          chunk.replicas.some((copy) => copy.state === state);
        const unreachable = bad.filter((chunk) => has(chunk, 'ready')).length;
        const damaged = bad.filter((chunk) => !has(chunk, 'ready') && has(chunk, 'corrupt')).length;
        const isPartial = tables.files.get(id)?.status === 'partial';
        if (bad.length === 0 && !isPartial) continue;
        found.set(id, { unreachable, damaged, gone: bad.length - unreachable - damaged, isPartial });
      }
      return found;
    });
  }

  firstUnreadable(
    file: FileId,
    { from, to }: { readonly from: number; readonly to: number },
    readable: readonly NodeId[],
  ): Promise<number | undefined> {
    return this.read((tables) => {
      const within = chunkRecords(tables, file).filter(({ index }) => index >= from && index < to);
      return within.find((chunk) => !isReadable(chunk, readable))?.index;
    });
  }

  countStates(): Promise<ReadonlyMap<ReplicaState, number>> {
    return this.read((tables) => {
      const counts = new Map<ReplicaState, number>();
      for (const { copies } of tables.chunks.values())
        for (const state of copies.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
      return counts;
    });
  }
}

const isReadable = ({ replicas }: Pick<StoredChunk, 'replicas'>, readable: readonly NodeId[]): boolean =>
  replicas.some(({ nodeId, state }) => state === 'ready' && readable.includes(nodeId));

const isOn = (copy: { nodeId: NodeId; state: ReplicaState }, node: NodeId, states: readonly ReplicaState[]): boolean =>
  copy.nodeId === node && states.includes(copy.state);

/** In order of id. */
function published(tables: FileTables): StoredChunk[] {
  const chunks = [...tables.files.values()]
    .filter((file) => file.status === 'ready' || file.status === 'partial')
    .flatMap((file) =>
      chunkRecords(tables, file.id)
        .filter((chunk) => chunk.index < file.chunksCount)
        .map((chunk) => ({ ...chunk, wanted: file.replicas })),
    );
  return chunks.sort((one, other) => (one.id < other.id ? -1 : 1));
}

function setState(
  { chunks }: FileTables,
  { chunkId, nodeId }: CopyOf,
  from: readonly ReplicaState[],
  to: ReplicaState,
): boolean {
  const copies = chunks.get(chunkId)?.copies;
  const state = copies?.get(nodeId);
  if (copies === undefined || state === undefined || !from.includes(state)) return false;
  copies.set(nodeId, to);
  return true;
}

const readyElsewhere = ({ chunks }: FileTables, { chunkId, nodeId }: CopyOf, among: readonly NodeId[]): number =>
  among.filter((id) => id !== nodeId && chunks.get(chunkId)?.copies.get(id) === 'ready').length;
