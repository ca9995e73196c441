/**
 * Files, uploads, chunks and replicas. What belongs together changes in one transaction: a file is published with its
 * last receipts, and removed together with the note of which copies must vanish.
 */
import { In, LessThanOrEqual, Like, type EntityManager } from 'typeorm';
import { NexusError } from '../../shared/errors.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { ChunkId, FileId, NodeId, UploadId } from '../../shared/ids.js';
import { ChunkEntity, FileEntity, ReplicaEntity, UploadEntity, type ChunkRow, type ReplicaRow } from './entities.js';
import { checkComplete, noSuchFile, noSuchUpload } from './file-rules.js';
import type {
  ChunkRecord,
  DoomedReplica,
  FileRecord,
  FileStore,
  PlacedChunk,
  ReceivedChunk,
  StorageTotals,
  UploadRecord,
} from './port.js';
import type { Database } from './typeorm.js';

/** SQLite takes 32,766 variables in a statement; rows are written in groups well below that. */
const ROWS_PER_STATEMENT = 1000;

type Grants = Parameters<FileStore['recordGrants']>[1];
type Moved = Grants['moved'][number];

export class TypeormFileStore implements FileStore {
  constructor(private readonly database: Database) {}

  async openUpload(file: FileRecord, upload: UploadRecord): Promise<void> {
    await this.database.write(async (manager) => {
      await manager.insert(FileEntity, { ...file });
      await manager.insert(UploadEntity, { ...upload });
    });
  }

  async getUpload(id: UploadId): Promise<UploadRecord | undefined> {
    return (await this.database.read((manager) => manager.findOneBy(UploadEntity, { id }))) ?? undefined;
  }

  async recordGrants(id: UploadId, change: Grants): Promise<void> {
    await this.database.write(async (manager) => {
      const upload = await expectUpload(manager, id);
      await receive(manager, upload.fileId, change.received);
      for (const moved of change.moved) await move(manager, moved);
      await place(manager, upload.fileId, change.placed);
      const granted = upload.granted + change.placed.length;
      await manager.update(UploadEntity, { id }, { granted, expiresAt: change.expiresAt });
    });
  }

  chunksAt(id: FileId, indexes: readonly number[]): Promise<readonly ChunkRecord[]> {
    if (indexes.length === 0) return Promise.resolve([]);
    const list = indexes.map((index) => Math.trunc(index)).join(', ');
    return this.database.read((manager) => chunksWhere(manager, id, `chunk_index IN (${list})`));
  }

  async writingBytes(): Promise<ReadonlyMap<NodeId, number>> {
    const rows = await this.database.read((manager) =>
      manager.query<{ node: NodeId; copies: number | string }[]>(
        `SELECT node_id AS "node", COUNT(*) AS "copies" FROM replicas WHERE state = 'writing' GROUP BY node_id`,
      ),
    );
    return new Map(rows.map((row) => [row.node, Number(row.copies) * CHUNK_SIZE_BYTES]));
  }

  async uploadChunks(id: UploadId): Promise<readonly ChunkRecord[]> {
    const upload = await this.getUpload(id);
    return upload === undefined ? [] : await this.chunks(upload.fileId, { from: 0, count: upload.granted });
  }

  commitUpload(id: UploadId, change: Parameters<FileStore['commitUpload']>[1]): Promise<FileRecord> {
    return this.database.write(async (manager) => {
      const upload = await expectUpload(manager, id);
      await receive(manager, upload.fileId, change.received);
      const chunks = await chunksOf(manager, upload.fileId, 0, upload.granted);
      checkComplete(chunks, change);
      const file = await manager.findOneByOrFail(FileEntity, { id: upload.fileId });
      // Grants that were never used, and copies that were never signed for, go.
      const surplus = chunks.filter((chunk) => chunk.index >= change.chunksCount);
      await setStates(
        manager,
        surplus.flatMap((chunk) => copiesOf(chunk)),
        'deleting',
      );
      const unsigned = chunks.flatMap((chunk) => copiesOf(chunk).filter((copy) => copy.state === 'writing'));
      await setStates(manager, unsigned, 'deleting');
      const published = { size: change.size, chunksCount: change.chunksCount, status: 'ready' as const };
      await manager.update(FileEntity, { id: file.id }, published);
      await manager.delete(UploadEntity, { id });
      return { ...file, ...published };
    });
  }

  async abortUpload(id: UploadId): Promise<void> {
    await this.database.write(async (manager) => {
      const upload = await manager.findOneBy(UploadEntity, { id });
      if (upload === null) return;
      await doomFile(manager, upload.fileId);
      await manager.delete(UploadEntity, { id });
      await manager.delete(FileEntity, { id: upload.fileId });
    });
  }

  async expiredUploads(now: number): Promise<readonly UploadId[]> {
    const rows = await this.database.read((manager) =>
      manager.find(UploadEntity, { select: { id: true }, where: { expiresAt: LessThanOrEqual(now) } }),
    );
    return rows.map((row) => row.id);
  }

  async getFile(id: FileId): Promise<FileRecord | undefined> {
    return (await this.database.read((manager) => manager.findOneBy(FileEntity, { id }))) ?? undefined;
  }

  findFiles(prefix: string): Promise<readonly FileRecord[]> {
    // Ids are hex: whatever else was typed matches nothing, and nothing of it is a pattern.
    if (!/^[0-9a-f]+$/.test(prefix)) return Promise.resolve([]);
    const where = { id: Like(`${prefix}%`) as unknown as FileId, status: 'ready' as const };
    return this.database.read((manager) => manager.find(FileEntity, { where, take: 2 }));
  }

  listFiles(page: Parameters<FileStore['listFiles']>[0]): Promise<readonly FileRecord[]> {
    return this.database.read((manager) => {
      const query = manager.createQueryBuilder(FileEntity, 'file').where('file.status = :status', { status: 'ready' });
      if (page.after !== undefined) {
        query.andWhere('(file.createdAt > :at OR (file.createdAt = :at AND file.id > :id))', {
          at: page.after.createdAt,
          id: page.after.id,
        });
      }
      return query.orderBy('file.createdAt', 'ASC').addOrderBy('file.id', 'ASC').limit(page.limit).getMany();
    });
  }

  chunks(id: FileId, page: { readonly from: number; readonly count: number }): Promise<readonly ChunkRecord[]> {
    return this.database.read((manager) => chunksOf(manager, id, page.from, page.count));
  }

  removeFile(id: FileId): Promise<FileRecord> {
    return this.database.write(async (manager) => {
      const file = await manager.findOneBy(FileEntity, { id, status: 'ready' });
      if (file === null) throw noSuchFile(id);
      await doomFile(manager, id);
      await manager.delete(FileEntity, { id });
      return file;
    });
  }

  async doomedReplicas(limit: number, node?: NodeId): Promise<readonly DoomedReplica[]> {
    const where = { state: 'deleting' as const, ...(node === undefined ? {} : { nodeId: node }) };
    const rows = await this.database.read((manager) =>
      manager.find(ReplicaEntity, { where, order: { nodeId: 'ASC' }, take: limit }),
    );
    return rows.map(({ chunkId, nodeId }) => ({ chunkId, nodeId }));
  }

  async doomedNodes(): Promise<readonly NodeId[]> {
    const rows = await this.database.read((manager) =>
      manager.query<{ node: NodeId }[]>(`SELECT DISTINCT node_id AS "node" FROM replicas WHERE state = 'deleting'`),
    );
    return rows.map((row) => row.node);
  }

  async forgetReplicas(gone: readonly DoomedReplica[]): Promise<void> {
    if (gone.length === 0) return;
    await this.database.write(async (manager) => {
      for (const [nodeId, copies] of groupByNode(gone)) {
        for (const part of parts(copies))
          await manager.delete(ReplicaEntity, { nodeId, chunkId: In([...part]), state: 'deleting' });
      }
      await forgetBareChunks(
        manager,
        gone.map((copy) => copy.chunkId),
      );
    });
  }

  filesOnlyOn(node: NodeId): Promise<readonly FileRecord[]> {
    return this.database.read((manager) =>
      manager
        .createQueryBuilder(FileEntity, 'file')
        .where('file.status = :status', { status: 'ready' })
        .andWhere(`file.id IN (${CHUNKS_ONLY_ON})`, { node })
        .getMany(),
    );
  }

  async forgetNode(node: NodeId): Promise<void> {
    await this.database.write(async (manager) => {
      const rows = await manager.find(ReplicaEntity, { select: { chunkId: true }, where: { nodeId: node } });
      await manager.delete(ReplicaEntity, { nodeId: node });
      await forgetBareChunks(
        manager,
        rows.map((row) => row.chunkId),
      );
    });
  }

  totals(): Promise<StorageTotals> {
    return this.database.read(async (manager) => {
      const [row] = await manager.query<Record<keyof StorageTotals, number | string>[]>(TOTALS);
      const number = (name: keyof StorageTotals): number => Number(row?.[name] ?? 0);
      return {
        files: number('files'),
        chunks: number('chunks'),
        bytes: number('bytes'),
        underReplicated: number('underReplicated'),
        pendingDeletes: number('pendingDeletes'),
      };
    });
  }
}

/** Files of the chunks that have a ready copy on :node and none elsewhere. */
const CHUNKS_ONLY_ON = `
  SELECT chunks.file_id FROM chunks JOIN replicas ON replicas.chunk_id = chunks.id
   WHERE replicas.node_id = :node AND replicas.state = 'ready' AND NOT EXISTS
     (SELECT 1 FROM replicas other WHERE other.chunk_id = chunks.id AND other.node_id <> :node AND other.state = 'ready')`;

/** One statement, hence one snapshot. Quoted names keep their case on PostgreSQL too. */
const TOTALS = `
  SELECT (SELECT COUNT(*) FROM files WHERE status = 'ready') AS "files",
         (SELECT COALESCE(SUM(size), 0) FROM files WHERE status = 'ready') AS "bytes",
         (SELECT COALESCE(SUM(chunks_count), 0) FROM files WHERE status = 'ready') AS "chunks",
         (SELECT COUNT(*) FROM replicas WHERE state = 'deleting') AS "pendingDeletes",
         (SELECT COUNT(*) FROM chunks JOIN files ON files.id = chunks.file_id
           WHERE files.status = 'ready' AND files.replicas >
             (SELECT COUNT(*) FROM replicas WHERE replicas.chunk_id = chunks.id AND replicas.state = 'ready')
         ) AS "underReplicated"`;

async function expectUpload(manager: EntityManager, id: UploadId): Promise<UploadRecord> {
  const upload = await manager.findOneBy(UploadEntity, { id });
  if (upload === null) throw noSuchUpload(id);
  return upload;
}

const chunksOf = (manager: EntityManager, fileId: FileId, from: number, count: number): Promise<ChunkRecord[]> =>
  chunksWhere(manager, fileId, `chunk_index >= ${Math.trunc(from)} AND chunk_index < ${Math.trunc(from + count)}`);

async function chunksWhere(manager: EntityManager, fileId: FileId, condition: string): Promise<ChunkRecord[]> {
  const rows: Record<'id' | 'idx' | 'size' | 'md5' | 'node' | 'state', string | number | null>[] = await manager.query(
    `SELECT chunks.id AS "id", chunk_index AS "idx", size AS "size", md5 AS "md5", node_id AS "node", state AS "state"
       FROM chunks LEFT JOIN replicas ON replicas.chunk_id = chunks.id
      WHERE file_id = '${checkedId(fileId)}' AND ${condition}
      ORDER BY chunk_index, node_id`,
  );
  const byIndex = new Map<number, ChunkRecord & { replicas: { nodeId: NodeId; state: ReplicaRow['state'] }[] }>();
  for (const row of rows) {
    const index = Number(row.idx);
    const chunk = byIndex.get(index) ?? {
      id: row.id as ChunkId,
      fileId,
      index,
      size: Number(row.size),
      md5: String(row.md5),
      replicas: [],
    };
    if (row.node !== null) chunk.replicas.push({ nodeId: row.node as NodeId, state: row.state as ReplicaRow['state'] });
    byIndex.set(index, chunk);
  }
  return [...byIndex.values()];
}

/** Parameter markers differ between the databases; a hex id needs none. */
function checkedId(id: string): string {
  if (!/^[0-9a-f]+$/.test(id)) throw new NexusError('internal', 'an id that is not hex reached the store');
  return id;
}

async function receive(manager: EntityManager, fileId: FileId, received: readonly ReceivedChunk[]): Promise<void> {
  for (const { chunkId, size, md5, nodeIds } of received) {
    await manager.update(ChunkEntity, { id: chunkId, fileId }, { size, md5 });
    await manager.update(ReplicaEntity, { chunkId, nodeId: In([...nodeIds]), state: 'writing' }, { state: 'ready' });
  }
}

async function move(manager: EntityManager, { chunkId, from, to }: Moved): Promise<void> {
  await manager.update(ReplicaEntity, { chunkId, nodeId: In([...from]) }, { state: 'deleting' });
  await manager.insert(
    ReplicaEntity,
    to.map((nodeId) => ({ chunkId, nodeId, state: 'writing' as const })),
  );
}

async function place(manager: EntityManager, fileId: FileId, placed: readonly PlacedChunk[]): Promise<void> {
  const chunks: ChunkRow[] = placed.map(({ id, index }) => ({ id, fileId, index, size: 0, md5: '' }));
  const copies: ReplicaRow[] = placed.flatMap(({ id, nodeIds }) =>
    nodeIds.map((nodeId) => ({ chunkId: id, nodeId, state: 'writing' as const })),
  );
  for (const part of parts(chunks)) await manager.insert(ChunkEntity, [...part]);
  for (const part of parts(copies)) await manager.insert(ReplicaEntity, [...part]);
}

const copiesOf = (chunk: ChunkRecord): ReplicaRow[] =>
  chunk.replicas.map(({ nodeId, state }) => ({ chunkId: chunk.id, nodeId, state }));

async function setStates(
  manager: EntityManager,
  copies: readonly ReplicaRow[],
  state: ReplicaRow['state'],
): Promise<void> {
  for (const [nodeId, ofNode] of groupByNode(copies)) {
    for (const part of parts(ofNode))
      await manager.update(ReplicaEntity, { nodeId, chunkId: In([...part]) }, { state });
  }
}

async function doomFile(manager: EntityManager, fileId: FileId): Promise<void> {
  const id = checkedId(fileId);
  await manager.query(
    `UPDATE replicas SET state = 'deleting' WHERE chunk_id IN (SELECT id FROM chunks WHERE file_id = '${id}')`,
  );
  // A chunk that never had, or no longer has, a copy is nobody's to delete.
  await manager.query(
    `DELETE FROM chunks WHERE file_id = '${id}' AND NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.chunk_id = chunks.id)`,
  );
}

/** Of the given chunks, those without a copy that belong to no file any more. */
async function forgetBareChunks(manager: EntityManager, ids: readonly ChunkId[]): Promise<void> {
  for (const part of parts([...new Set(ids)])) {
    await manager
      .createQueryBuilder()
      .delete()
      .from(ChunkEntity)
      .where({ id: In([...part]) })
      .andWhere('NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.chunk_id = chunks.id)')
      .andWhere(
        'NOT EXISTS (SELECT 1 FROM files WHERE files.id = chunks.file_id AND chunks.chunk_index < files.chunks_count)',
      )
      .andWhere("NOT EXISTS (SELECT 1 FROM files WHERE files.id = chunks.file_id AND files.status = 'uploading')")
      .execute();
  }
}

function groupByNode(copies: readonly DoomedReplica[]): Map<NodeId, ChunkId[]> {
  const groups = new Map<NodeId, ChunkId[]>();
  for (const { nodeId, chunkId } of copies) groups.set(nodeId, [...(groups.get(nodeId) ?? []), chunkId]);
  return groups;
}

function* parts<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  for (let at = 0; at < items.length; at += ROWS_PER_STATEMENT) yield items.slice(at, at + ROWS_PER_STATEMENT);
}
