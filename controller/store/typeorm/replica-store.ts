/** Copies of published chunks in tables. The SQL is valid for both SQLite and PostgreSQL; ids are checked hex. */
import { In, type EntityManager } from 'typeorm';
import { NexusError } from '../../../shared/errors.js';
import type { ChunkId, FileId, NodeId } from '../../../shared/ids.js';
import { MarkEntity, ReplicaEntity } from './entities.js';
import type { ReplicaState } from '../port/store.js';
import type { CopyOf, FileTrouble, MarkStore, ReplicaStore, StoredChunk } from '../port/replicas.js';
import { checkedId, forgetBareChunks } from './chunks.js';
import type { Database } from './database.js';

/** Condition for chunks of a published file: grants beyond its end are being removed. */
const PUBLISHED = `files.id = chunks.file_id AND files.status IN ('ready', 'partial') AND chunks.chunk_index < files.chunks_count`;

interface Row {
  readonly id: string;
  readonly file: string;
  readonly idx: number | string;
  readonly size: number | string;
  readonly md5: string;
  readonly wanted: number | string;
  readonly node: string | null;
  readonly state: string | null;
}

type Page = { readonly after: string; readonly limit: number };
type ChunkFacts = Omit<StoredChunk, 'replicas' | 'wanted'>;

const quoted = (ids: readonly string[]): string => ids.map((id) => `'${checkedId(id)}'`).join(', ');

interface TroubleRow {
  readonly file: FileId;
  readonly unreachable: number | string;
  readonly damaged: number | string;
  readonly gone: number | string;
}

const wholeOn = (nodes: readonly NodeId[]): string =>
  `CASE WHEN state = 'ready' AND node_id IN (${quoted(nodes) || 'NULL'}) THEN 1 END`;

/** Grouped twice, so that only files in trouble return a row. */
const troublesOf = (files: readonly FileId[], readable: readonly NodeId[]): string => `
  SELECT file AS "file", COUNT(CASE WHEN whole > 0 THEN 1 END) AS "unreachable",
         COUNT(CASE WHEN whole = 0 AND corrupt > 0 THEN 1 END) AS "damaged",
         COUNT(CASE WHEN whole = 0 AND corrupt = 0 THEN 1 END) AS "gone"
    FROM (SELECT chunks.file_id AS file, COUNT(${wholeOn(readable)}) AS readable,
                 COUNT(CASE WHEN state = 'ready' THEN 1 END) AS whole,
                 COUNT(CASE WHEN state = 'corrupt' THEN 1 END) AS corrupt
            FROM chunks JOIN files ON ${PUBLISHED} LEFT JOIN replicas ON replicas.chunk_id = chunks.id
           WHERE chunks.file_id IN (${quoted(files)}) GROUP BY chunks.file_id, chunks.id) AS judged
   WHERE readable = 0 GROUP BY file`;

export class TypeormReplicaStore implements ReplicaStore {
  constructor(private readonly database: Database) {}

  walk({ after, limit }: { after: string; limit: number }): Promise<readonly StoredChunk[]> {
    const above = after === '' ? '' : `AND chunks.id > '${checkedId(after)}'`;
    const page = `SELECT chunks.id FROM chunks JOIN files ON ${PUBLISHED} WHERE 1 = 1 ${above}
      ORDER BY chunks.id LIMIT ${Math.trunc(limit)}`;
    return this.database.read((manager) => storedChunks(manager, `chunks.id IN (${page})`));
  }

  async find(chunk: ChunkId): Promise<StoredChunk | undefined> {
    const found = await this.database.read((manager) => storedChunks(manager, `chunks.id = '${checkedId(chunk)}'`));
    return found[0];
  }

  async troubles(files: readonly FileId[], readable: readonly NodeId[]): Promise<ReadonlyMap<FileId, FileTrouble>> {
    if (files.length === 0) return new Map();
    const [rows, partial] = await this.database.read(async (manager) => [
      await manager.query<TroubleRow[]>(troublesOf(files, readable)),
      await manager.query<{ id: FileId }[]>(
        `SELECT id AS "id" FROM files WHERE id IN (${quoted(files)}) AND status = 'partial'`,
      ),
    ]);
    const found = new Map<FileId, FileTrouble>(
      partial.map(({ id }) => [id, { unreachable: 0, damaged: 0, gone: 0, isPartial: true }]),
    );
    for (const { file, unreachable, damaged, gone } of rows) {
      const counts = { unreachable: Number(unreachable), damaged: Number(damaged), gone: Number(gone) };
      found.set(file, { ...counts, isPartial: found.has(file) });
    }
    return found;
  }

  async firstUnreadable(
    file: FileId,
    { from, to }: { readonly from: number; readonly to: number },
    readable: readonly NodeId[],
  ): Promise<number | undefined> {
    const [row] = await this.database.read((manager) =>
      manager.query<{ idx: number | string | null }[]>(
        `SELECT MIN(chunk_index) AS "idx" FROM chunks
          WHERE file_id = '${checkedId(file)}' AND chunk_index >= ${Math.trunc(from)} AND chunk_index < ${Math.trunc(to)}
            AND 0 = (SELECT COUNT(${wholeOn(readable)}) FROM replicas WHERE replicas.chunk_id = chunks.id)`,
      ),
    );
    return row === undefined || row.idx === null ? undefined : Number(row.idx);
  }

  readyOn(node: NodeId, page: Page): Promise<readonly ChunkFacts[]> {
    return this.#copiesOn(node, "'ready'", page);
  }

  badOn(node: NodeId, page: Page): Promise<readonly ChunkFacts[]> {
    return this.#copiesOn(node, "'missing', 'corrupt'", page);
  }

  async #copiesOn(node: NodeId, states: string, { after, limit }: Page): Promise<readonly ChunkFacts[]> {
    const above = after === '' ? '' : `AND chunks.id > '${checkedId(after)}'`;
    const rows = await this.database.read((manager) =>
      manager.query<Omit<Row, 'wanted' | 'node' | 'state'>[]>(
        `SELECT chunks.id AS "id", chunks.file_id AS "file", chunk_index AS "idx", chunks.size AS "size", md5 AS "md5"
           FROM replicas JOIN chunks ON chunks.id = replicas.chunk_id JOIN files ON ${PUBLISHED}
          WHERE replicas.node_id = '${checkedId(node)}' AND replicas.state IN (${states}) ${above}
          ORDER BY chunks.id LIMIT ${Math.trunc(limit)}`,
      ),
    );
    return rows.map(factsOf);
  }

  async countOn(node: NodeId): Promise<{ readonly chunks: number; readonly bytes: number }> {
    const [row] = await this.database.read((manager) =>
      manager.query<{ chunks: number | string; bytes: number | string }[]>(
        `SELECT COUNT(*) AS "chunks", COALESCE(SUM(chunks.size), 0) AS "bytes"
           FROM replicas JOIN chunks ON chunks.id = replicas.chunk_id JOIN files ON ${PUBLISHED}
          WHERE replicas.node_id = '${checkedId(node)}' AND replicas.state IN ('ready', 'corrupt')`,
      ),
    );
    return { chunks: Number(row?.chunks ?? 0), bytes: Number(row?.bytes ?? 0) };
  }

  async knownOn(node: NodeId, chunks: readonly ChunkId[]): Promise<ReadonlySet<ChunkId>> {
    if (chunks.length === 0) return new Set();
    const rows = await this.database.read((manager) =>
      manager.query<{ id: ChunkId }[]>(
        `SELECT chunk_id AS "id" FROM replicas WHERE node_id = '${checkedId(node)}' AND chunk_id IN (${quoted(chunks)})`,
      ),
    );
    return new Set(rows.map((row) => row.id));
  }

  async begin({ chunkId, nodeId }: CopyOf, reason: string): Promise<void> {
    await this.database.write(async (manager) => {
      const [chunk] = await storedChunks(manager, `chunks.id = '${checkedId(chunkId)}'`);
      if (chunk === undefined) throw new NexusError('not_found', `chunk ${chunkId} belongs to no file any more`);
      if (chunk.replicas.some((copy) => copy.nodeId === nodeId)) {
        throw new NexusError('already_exists', `node ${nodeId} has a copy of chunk ${chunkId} already`);
      }
      await manager.insert(ReplicaEntity, { chunkId, nodeId, state: 'writing', reason });
    });
  }

  settle(copy: CopyOf): Promise<boolean> {
    return this.#change(copy, ['writing'], 'ready');
  }

  abandon(copy: CopyOf): Promise<boolean> {
    return this.#change(copy, ['writing'], 'deleting');
  }

  markBad(copy: CopyOf, state: 'missing' | 'corrupt'): Promise<boolean> {
    return this.#change(copy, ['ready'], state);
  }

  markWhole(copy: CopyOf): Promise<boolean> {
    return this.#change(copy, ['missing', 'corrupt'], 'ready');
  }

  dropBad({ chunkId, nodeId }: CopyOf, among: readonly NodeId[]): Promise<boolean> {
    return this.database.write(async (manager) => {
      if ((await readyElsewhere(manager, { chunkId, nodeId }, among)) === 0) return false;
      return await setState(manager, { chunkId, nodeId }, ['missing', 'corrupt'], 'deleting');
    });
  }

  dropSurplus({ chunkId, nodeId }: CopyOf, among: readonly NodeId[], least: number): Promise<boolean> {
    return this.database.write(async (manager) => {
      if ((await readyElsewhere(manager, { chunkId, nodeId }, among)) < least) return false;
      return await setState(manager, { chunkId, nodeId }, ['ready'], 'deleting');
    });
  }

  async begun(): Promise<readonly CopyOf[]> {
    return await this.database.read((manager) =>
      manager.query<CopyOf[]>(
        `SELECT replicas.chunk_id AS "chunkId", node_id AS "nodeId" FROM replicas
           JOIN chunks ON chunks.id = replicas.chunk_id JOIN files ON ${PUBLISHED}
          WHERE replicas.state = 'writing'`,
      ),
    );
  }

  async reasons(chunks: readonly ChunkId[]): Promise<readonly (CopyOf & { readonly reason: string })[]> {
    if (chunks.length === 0) return [];
    return await this.database.read((manager) =>
      manager.query<(CopyOf & { reason: string })[]>(
        `SELECT chunk_id AS "chunkId", node_id AS "nodeId", reason AS "reason" FROM replicas
          WHERE chunk_id IN (${quoted(chunks)}) ORDER BY chunk_id, node_id`,
      ),
    );
  }

  async countStates(): Promise<ReadonlyMap<ReplicaState, number>> {
    const rows = await this.database.read((manager) =>
      manager.query<{ state: ReplicaState; copies: number | string }[]>(
        'SELECT state AS "state", COUNT(*) AS "copies" FROM replicas GROUP BY state',
      ),
    );
    return new Map(rows.map(({ state, copies }) => [state, Number(copies)]));
  }

  #change(copy: CopyOf, from: readonly ReplicaState[], to: ReplicaState): Promise<boolean> {
    return this.database.write(async (manager) => {
      const changed = await setState(manager, copy, from, to);
      // The file may have been removed meanwhile, and its chunk's other copies forgotten.
      if (changed && to === 'deleting') await forgetBareChunks(manager, [copy.chunkId]);
      return changed;
    });
  }
}

async function setState(
  manager: EntityManager,
  { chunkId, nodeId }: CopyOf,
  from: readonly ReplicaState[],
  state: ReplicaState,
): Promise<boolean> {
  const { affected } = await manager.update(ReplicaEntity, { chunkId, nodeId, state: In([...from]) }, { state });
  return affected === 1;
}

async function readyElsewhere(
  manager: EntityManager,
  { chunkId, nodeId }: CopyOf,
  among: readonly NodeId[],
): Promise<number> {
  const others = among.filter((id) => id !== nodeId);
  return await manager.countBy(ReplicaEntity, { chunkId, nodeId: In([...others]), state: 'ready' });
}

async function storedChunks(manager: EntityManager, condition: string): Promise<StoredChunk[]> {
  const rows = await manager.query<Row[]>(
    `SELECT chunks.id AS "id", chunks.file_id AS "file", chunk_index AS "idx", chunks.size AS "size", md5 AS "md5",
            files.replicas AS "wanted", node_id AS "node", state AS "state"
       FROM chunks JOIN files ON ${PUBLISHED} LEFT JOIN replicas ON replicas.chunk_id = chunks.id
      WHERE ${condition} ORDER BY chunks.id, node_id`,
  );
  const found = new Map<string, StoredChunk & { replicas: { nodeId: NodeId; state: ReplicaState }[] }>();
  for (const row of rows) {
    const chunk = found.get(row.id) ?? { ...factsOf(row), wanted: Number(row.wanted), replicas: [] };
    if (row.node !== null) chunk.replicas.push({ nodeId: row.node as NodeId, state: row.state as ReplicaState });
    found.set(row.id, chunk);
  }
  return [...found.values()];
}

const factsOf = (row: Pick<Row, 'id' | 'file' | 'idx' | 'size' | 'md5'>) => ({
  id: row.id as ChunkId,
  fileId: row.file as FileId,
  index: Number(row.idx),
  size: Number(row.size),
  md5: row.md5,
});

export class TypeormMarkStore implements MarkStore {
  constructor(private readonly database: Database) {}

  async get(name: string): Promise<number | undefined> {
    return (await this.database.read((manager) => manager.findOneBy(MarkEntity, { name })))?.value;
  }

  async set(name: string, value: number): Promise<void> {
    await this.database.write((manager) => manager.upsert(MarkEntity, { name, value }, ['name']));
  }
}
