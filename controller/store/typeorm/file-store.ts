/**
 * Files, uploads, chunks and replicas. What belongs together changes in one transaction: a file is published with its
 * last receipts, and removed together with the note of which copies must vanish.
 */
import { Between, In, LessThanOrEqual, type EntityManager } from 'typeorm';
import { CHUNK_SIZE_BYTES } from '../../../shared/limits.js';
import type { FileId, NodeId, UploadId } from '../../../shared/ids.js';
import { FileEntity, ReplicaEntity, UploadEntity } from './entities.js';
import { checkComplete, noSuchFile, noSuchUpload } from '../port/file-rules.js';
import { assertPlaced, isContent } from '../port/fs-rules.js';
import type {
  ChunkRecord,
  DoomedReplica,
  FileRecord,
  FileStore,
  StorageTotals,
  UploadPlace,
  UploadRecord,
} from '../port/store.js';
import {
  checkedId,
  chunksOf,
  chunksWhere,
  copiesOf,
  doomFile,
  forgetBareChunks,
  groupByNode,
  move,
  parts,
  place,
  receive,
  setStates,
} from './chunks.js';
import { charge, ensureAccount } from './accounts.js';
import type { Database } from './database.js';
import { dropFile, publishEntry } from './entries.js';
import { commitPacked, openPacked, type Singly } from './packed-uploads.js';

type Grants = Parameters<FileStore['recordGrants']>[1];

export class TypeormFileStore implements FileStore {
  constructor(private readonly database: Database) {}

  async openUpload(file: FileRecord, upload: UploadRecord, limit = 0): Promise<void> {
    await this.database.write((manager) => insertUpload(manager, file, upload, limit));
  }

  openUploads(...[uploads, change]: Parameters<FileStore['openUploads']>): ReturnType<FileStore['openUploads']> {
    return this.database.write((manager) => openPacked(manager, uploads, change, SINGLY));
  }

  commitUploads(...[ids, change]: Parameters<FileStore['commitUploads']>): ReturnType<FileStore['commitUploads']> {
    return this.database.write((manager) => commitPacked(manager, ids, change, SINGLY));
  }

  async getUpload(id: UploadId): Promise<UploadRecord | undefined> {
    return (await this.database.read((manager) => manager.findOneBy(UploadEntity, { id }))) ?? undefined;
  }

  async placeUpload(id: UploadId, { parentId, entryName, overwrite }: UploadPlace): Promise<void> {
    await this.database.write(async (manager) => {
      const { fileId } = await expectUpload(manager, id);
      await manager.update(UploadEntity, { id }, { parentId, entryName, overwrite });
      await manager.update(FileEntity, { id: fileId }, { name: entryName });
    });
  }

  async recordGrants(id: UploadId, change: Grants): Promise<void> {
    await this.database.write(async (manager) => {
      const upload = await expectUpload(manager, id);
      await receive(manager, upload.fileId, change.received);
      const reason = change.reason ?? '';
      for (const moved of change.moved) await move(manager, moved, reason);
      const { fileId } = upload;
      await place(
        manager,
        change.placed.map((chunk) => ({ ...chunk, fileId })),
        reason,
      );
      const granted = upload.granted + change.placed.length;
      const reserved = change.reserved ?? upload.reserved;
      if (reserved !== upload.reserved) {
        const { owner } = await manager.findOneByOrFail(FileEntity, { id: upload.fileId });
        await charge(manager, owner, { reserved: reserved - upload.reserved }, change.limit);
      }
      await manager.update(UploadEntity, { id }, { granted, expiresAt: change.expiresAt, reserved });
    });
  }

  chunksAt(id: FileId, indexes: readonly number[]): Promise<readonly ChunkRecord[]> {
    if (indexes.length === 0) return Promise.resolve([]);
    const list = indexes.map((index) => Math.trunc(index)).join(', ');
    return this.database.read((manager) => chunksWhere(manager, id, `chunk_index IN (${list})`));
  }

  async writingBytes(): Promise<ReadonlyMap<NodeId, number>> {
    const rows = await this.database.read((manager) =>
      manager.query<{ node: NodeId; bytes: number | string }[]>(WRITING),
    );
    return new Map(rows.map((row) => [row.node, Number(row.bytes)]));
  }

  async uploadChunks(id: UploadId): Promise<readonly ChunkRecord[]> {
    const upload = await this.getUpload(id);
    return upload === undefined ? [] : await this.chunks(upload.fileId, { from: 0, count: upload.granted });
  }

  commitUpload(id: UploadId, change: Parameters<FileStore['commitUpload']>[1]): Promise<FileRecord> {
    return this.database.write((manager) => publishUpload(manager, id, change));
  }

  async abortUpload(id: UploadId): Promise<void> {
    await this.database.write(async (manager) => {
      const upload = await manager.findOneBy(UploadEntity, { id });
      if (upload !== null) await dropUpload(manager, upload);
    });
  }

  expireUpload(id: UploadId, now: number): Promise<boolean> {
    return this.database.write(async (manager) => {
      const upload = await manager.findOneBy(UploadEntity, { id, expiresAt: LessThanOrEqual(now) });
      if (upload !== null) await dropUpload(manager, upload);
      return upload !== null;
    });
  }

  async renewUploads(expiresAt: number): Promise<void> {
    await this.database.write(async (manager) => {
      await manager.createQueryBuilder().update(UploadEntity).set({ expiresAt }).execute();
    });
  }

  async countUploads(owner: string): Promise<{ readonly own: number; readonly all: number }> {
    const [row] = await this.database.read((manager) =>
      manager
        .createQueryBuilder(UploadEntity, 'upload')
        .innerJoin(FileEntity.options.tableName ?? 'files', 'file', 'file.id = upload.fileId')
        .select('COUNT(*)', 'all')
        .addSelect('COUNT(CASE WHEN file.owner = :owner THEN 1 END)', 'own')
        .setParameters({ owner })
        .getRawMany<{ own: number | string; all: number | string }>(),
    );
    return { own: Number(row?.own ?? 0), all: Number(row?.all ?? 0) };
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

  findFiles(prefix: string, owner?: string): Promise<readonly FileRecord[]> {
    // Ids are hex: other text matches nothing, and must not act as a pattern.
    if (!/^[0-9a-f]+$/.test(prefix)) return Promise.resolve([]);
    // A range uses the primary key's index, unlike LIKE. No hex digit sorts after "g".
    const where = {
      id: Between(prefix, `${prefix}g`) as unknown as FileId,
      status: In(['ready', 'partial']) as unknown as 'ready',
      ...(owner === undefined ? {} : { owner }),
    };
    return this.database.read((manager) => manager.find(FileEntity, { where, order: { id: 'ASC' }, take: 2 }));
  }

  filesNamed(name: string, limit: number, owner?: string): Promise<readonly FileRecord[]> {
    const status = In(['ready', 'partial']) as unknown as 'ready';
    const where = { name, status, kind: 'raw' as const, ...(owner === undefined ? {} : { owner }) };
    return this.database.read((manager) =>
      manager.find(FileEntity, { where, order: { createdAt: 'DESC', id: 'ASC' }, take: limit }),
    );
  }

  listFiles(page: Parameters<FileStore['listFiles']>[0]): Promise<readonly FileRecord[]> {
    return this.database.read((manager) => {
      const query = manager
        .createQueryBuilder(FileEntity, 'file')
        .where("file.status IN ('ready', 'partial') AND file.kind = 'raw'");
      if (page.owner !== undefined) query.andWhere('file.owner = :owner', { owner: page.owner });
      if (page.after !== undefined) {
        // Compared as a row, so that the index on both columns finds the page directly.
        query.andWhere('(file.createdAt, file.id) > (:at, :id)', {
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
      const file = await manager.findOneBy(FileEntity, { id, status: In(['ready', 'partial']) });
      if (file === null) throw noSuchFile(id);
      if (file.kind === 'fs') throw isContent(id);
      await dropFile(manager, file);
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

  filesOnlyOn(node: NodeId, others: readonly NodeId[]): Promise<readonly FileRecord[]> {
    const elsewhere = others.filter((id) => id !== node).map((id) => `'${checkedId(id)}'`);
    return this.database.read((manager) =>
      manager
        .createQueryBuilder(FileEntity, 'file')
        .where("file.status IN ('ready', 'partial')")
        .andWhere(`file.id IN (${chunksOnlyOn(checkedId(node), elsewhere)})`)
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

/**
 * Selects the files of chunks with a ready or corrupt copy on the node and no ready one on the others. Here and below,
 * the copies of a chunk are looked up by the chunk alone: given "state = 'ready'" as a condition, SQLite may use the
 * index on the state, which nearly all rows share, and scan all of them for each chunk.
 */
const chunksOnlyOn = (node: string, others: readonly string[]): string => `
  SELECT chunks.file_id FROM chunks JOIN replicas ON replicas.chunk_id = chunks.id
   WHERE replicas.node_id = '${node}' AND replicas.state IN ('ready', 'corrupt') AND 0 =
     (SELECT COUNT(CASE WHEN state = 'ready' AND node_id IN (${others.join(', ') || 'NULL'}) THEN 1 END)
        FROM replicas other WHERE other.chunk_id = chunks.id)`;

/**
 * Same rule as announcedBytes where the sender named no sizes. Copies made by repair belong to no upload: they count with
 * the size that was named, or as full chunks.
 */
const WRITING = `
  SELECT replicas.node_id AS "node", SUM(CASE
      WHEN chunks.chunk_offset IS NOT NULL THEN chunks.size
      WHEN uploads.id IS NULL OR uploads.expected_size <= chunks.chunk_index * CAST(${CHUNK_SIZE_BYTES} AS bigint)
        THEN ${CHUNK_SIZE_BYTES}
      WHEN uploads.expected_size - chunks.chunk_index * CAST(${CHUNK_SIZE_BYTES} AS bigint) >= ${CHUNK_SIZE_BYTES}
        THEN ${CHUNK_SIZE_BYTES}
      ELSE uploads.expected_size - chunks.chunk_index * CAST(${CHUNK_SIZE_BYTES} AS bigint)
    END) AS "bytes"
    FROM replicas JOIN chunks ON chunks.id = replicas.chunk_id
    LEFT JOIN uploads ON uploads.file_id = chunks.file_id
   WHERE replicas.state = 'writing' GROUP BY replicas.node_id`;

/** One statement, hence one snapshot. Quoted names keep their case on PostgreSQL too. */
const TOTALS = `
  SELECT (SELECT COUNT(*) FROM files WHERE status IN ('ready', 'partial')) AS "files",
         (SELECT COALESCE(SUM(size), 0) FROM files WHERE status IN ('ready', 'partial')) AS "bytes",
         (SELECT COALESCE(SUM(chunks_count), 0) FROM files WHERE status IN ('ready', 'partial')) AS "chunks",
         (SELECT COUNT(*) FROM replicas WHERE state = 'deleting') AS "pendingDeletes",
         (SELECT COUNT(*) FROM chunks JOIN files ON files.id = chunks.file_id
           WHERE files.status IN ('ready', 'partial') AND chunks.chunk_index < files.chunks_count AND files.replicas >
             (SELECT COUNT(CASE WHEN state = 'ready' THEN 1 END) FROM replicas WHERE replicas.chunk_id = chunks.id)
         ) AS "underReplicated"`;

async function expectUpload(manager: EntityManager, id: UploadId): Promise<UploadRecord> {
  const upload = await manager.findOneBy(UploadEntity, { id });
  if (upload === null) throw noSuchUpload(id);
  return upload;
}

async function insertUpload(
  manager: EntityManager,
  file: FileRecord,
  upload: UploadRecord,
  limit: number,
): Promise<void> {
  await ensureAccount(manager, file.owner, file.createdAt);
  await charge(manager, file.owner, { reserved: upload.reserved }, limit);
  await manager.insert(FileEntity, { ...file });
  await manager.insert(UploadEntity, { ...upload });
}

async function publishUpload(
  manager: EntityManager,
  id: UploadId,
  change: Parameters<FileStore['commitUpload']>[1],
): Promise<FileRecord> {
  const upload = await expectUpload(manager, id);
  await receive(manager, upload.fileId, change.received);
  const chunks = await chunksOf(manager, upload.fileId, 0, upload.granted);
  const file = await manager.findOneByOrFail(FileEntity, { id: upload.fileId });
  checkComplete(chunks, { ...change, explicitSizes: file.explicitSizes });
  assertPlaced(file.kind, upload.parentId);
  // Dooms grants that were not used, and copies that were not signed for.
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
  await charge(manager, file.owner, { used: change.size, reserved: -upload.reserved }, change.limit);
  if (upload.parentId !== '')
    await publishEntry(manager, file, upload, { now: change.now ?? 0, claim: change.claim ?? never });
  return { ...file, ...published };
}

const SINGLY: Singly = {
  open: async (manager, { file, upload, chunk }, { limit, reason }) => {
    await insertUpload(manager, file, { ...upload, granted: chunk === undefined ? 0 : 1 }, limit);
    if (chunk !== undefined) await place(manager, [{ ...chunk, index: 0, fileId: file.id }], reason);
  },
  commit: publishUpload,
};

async function dropUpload(manager: EntityManager, { id, fileId, reserved }: UploadRecord): Promise<void> {
  const { owner } = await manager.findOneByOrFail(FileEntity, { id: fileId });
  await charge(manager, owner, { reserved: -reserved });
  await doomFile(manager, fileId);
  await manager.delete(UploadEntity, { id });
  await manager.delete(FileEntity, { id: fileId });
}

const never = (): boolean => false;
