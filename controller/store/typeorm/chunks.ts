/**
 * Rows of chunks and their copies: the steps of the transactions in file-store.ts. The SQL is valid for both SQLite and
 * PostgreSQL.
 */
import { In, type EntityManager } from 'typeorm';
import { NexusError } from '../../../shared/errors.js';
import type { ChunkId, FileId, NodeId } from '../../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../../shared/limits.js';
import { ChunkEntity, ReplicaEntity, type ChunkRow, type ReplicaRow } from './entities.js';
import { movedMeanwhile } from '../port/file-rules.js';
import { query } from './query.js';
import type {
  ChunkRecord,
  DoomedReplica,
  FileStore,
  PlacedChunk,
  ReceivedChunk,
  ReplicaRecord,
} from '../port/store.js';

/** Well below the 32,766 variables that SQLite accepts in a statement. */
const ROWS_PER_STATEMENT = 1000;

type Moved = Parameters<FileStore['recordGrants']>[1]['moved'][number];

export const chunksOf = (manager: EntityManager, fileId: FileId, from: number, count: number): Promise<ChunkRecord[]> =>
  chunksWhere(manager, fileId, `chunk_index >= ${Math.trunc(from)} AND chunk_index < ${Math.trunc(from + count)}`);

export async function chunksWhere(manager: EntityManager, fileId: FileId, condition: string): Promise<ChunkRecord[]> {
  const rows = await chunkRows(manager, `file_id = '${checkedId(fileId)}' AND ${condition}`);
  return chunksOfRows(rows).get(fileId) ?? [];
}

/** Returns each file's chunks, without those beyond its end. */
export async function chunksOfFiles(
  manager: EntityManager,
  files: readonly { readonly id: FileId; readonly chunksCount: number }[],
): Promise<ReadonlyMap<FileId, ChunkRecord[]>> {
  const some = files.filter(({ chunksCount }) => chunksCount > 0);
  if (some.length === 0) return new Map();
  const rows = await chunkRows(manager, `file_id IN (${some.map(({ id }) => `'${checkedId(id)}'`).join(', ')})`);
  const chunks = chunksOfRows(rows);
  for (const { id, chunksCount } of some) {
    chunks.set(
      id,
      (chunks.get(id) ?? []).filter((chunk) => chunk.index < chunksCount),
    );
  }
  return chunks;
}

type Row = Readonly<Record<'file' | 'id' | 'idx' | 'size' | 'at' | 'md5' | 'node' | 'state', string | number | null>>;

const chunkRows = (manager: EntityManager, condition: string): Promise<Row[]> =>
  manager.query<Row[]>(
    `SELECT file_id AS "file", chunks.id AS "id", chunk_index AS "idx", size AS "size",
            chunk_offset AS "at", md5 AS "md5",
            node_id AS "node", state AS "state"
       FROM chunks LEFT JOIN replicas ON replicas.chunk_id = chunks.id
      WHERE ${condition}
      ORDER BY file_id, chunk_index, node_id`,
  );

/** Keeps the order of the rows. */
function chunksOfRows(rows: readonly Row[]): Map<FileId, ChunkRecord[]> {
  const byId = new Map<ChunkId, ChunkRecord & { replicas: { nodeId: NodeId; state: ReplicaRow['state'] }[] }>();
  for (const row of rows) {
    const id = row.id as ChunkId;
    const chunk = byId.get(id) ?? {
      id,
      fileId: row.file as FileId,
      index: Number(row.idx),
      size: Number(row.size),
      offset: row.at === null ? Number(row.idx) * CHUNK_SIZE_BYTES : Number(row.at),
      md5: String(row.md5),
      replicas: [],
    };
    if (row.node !== null) chunk.replicas.push({ nodeId: row.node as NodeId, state: row.state as ReplicaRow['state'] });
    byId.set(id, chunk);
  }
  const byFile = new Map<FileId, ChunkRecord[]>();
  for (const chunk of byId.values()) {
    const chunks = byFile.get(chunk.fileId);
    if (chunks === undefined) byFile.set(chunk.fileId, [chunk]);
    else chunks.push(chunk);
  }
  return byFile;
}

/** Parameter markers differ between the databases; a checked hex id can go into the statement itself. */
export function checkedId(id: string): string {
  if (!/^[0-9a-f]+$/.test(id)) throw new NexusError('internal', 'an id that is not hex reached the store');
  return id;
}

export async function receive(
  manager: EntityManager,
  fileId: FileId,
  received: readonly ReceivedChunk[],
): Promise<void> {
  for (const { chunkId, size, md5, nodeIds } of received) {
    await manager.update(ChunkEntity, { id: chunkId, fileId }, { size, md5 });
    await manager.update(ReplicaEntity, { chunkId, nodeId: In([...nodeIds]), state: 'writing' }, { state: 'ready' });
  }
}

export async function move(manager: EntityManager, { chunkId, from, to }: Moved, reason: string): Promise<void> {
  if (from.length > 0) {
    const leaving = { chunkId, nodeId: In([...from]), state: 'writing' as const };
    const { affected } = await manager.update(ReplicaEntity, leaving, { state: 'deleting' });
    if (affected !== from.length) throw movedMeanwhile(chunkId);
  }
  if (to.length === 0) return;
  await manager.insert(
    ReplicaEntity,
    to.map((nodeId) => ({ chunkId, nodeId, state: 'writing' as const, reason })),
  );
}

export async function place(
  manager: EntityManager,
  placed: readonly (PlacedChunk & { readonly fileId: FileId })[],
  reason: string,
): Promise<void> {
  const chunks: ChunkRow[] = placed.map(({ id, fileId, index, part }) => ({
    id,
    fileId,
    index,
    size: part?.size ?? 0,
    offset: part?.offset ?? null,
    md5: '',
  }));
  const copies: ReplicaRow[] = placed.flatMap(({ id, nodeIds }) =>
    nodeIds.map((nodeId) => ({ chunkId: id, nodeId, state: 'writing' as const, reason })),
  );
  for (const part of parts(chunks)) await manager.insert(ChunkEntity, [...part]);
  for (const part of parts(copies)) await manager.insert(ReplicaEntity, [...part]);
}

export const copiesOf = (chunk: ChunkRecord): (DoomedReplica & ReplicaRecord)[] =>
  chunk.replicas.map(({ nodeId, state }) => ({ chunkId: chunk.id, nodeId, state }));

export async function setStates(
  manager: EntityManager,
  copies: readonly DoomedReplica[],
  state: ReplicaRow['state'],
): Promise<void> {
  for (const [nodeId, ofNode] of groupByNode(copies)) {
    for (const part of parts(ofNode))
      await manager.update(ReplicaEntity, { nodeId, chunkId: In([...part]) }, { state });
  }
}

export const doomFile = (manager: EntityManager, id: FileId): Promise<void> => doomFiles(manager, [id]);

/** At most as many as fit into one statement. */
export async function doomFiles(manager: EntityManager, files: readonly FileId[]): Promise<void> {
  const ids = files.map(() => '?').join(', ');
  await query(
    manager,
    `UPDATE replicas SET state = 'deleting' WHERE chunk_id IN (SELECT id FROM chunks WHERE file_id IN (${ids}))`,
    files,
  );
  // No agent has to delete a chunk without copies, so its row can go.
  await query(
    manager,
    `DELETE FROM chunks WHERE file_id IN (${ids}) AND NOT EXISTS (SELECT 1 FROM replicas WHERE replicas.chunk_id = chunks.id)`,
    files,
  );
}

/** Deletes those of the given chunks that have no copy and belong to no file (it is gone, or ends before them). */
export async function forgetBareChunks(manager: EntityManager, ids: readonly ChunkId[]): Promise<void> {
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

export function groupByNode(copies: readonly DoomedReplica[]): Map<NodeId, ChunkId[]> {
  const groups = new Map<NodeId, ChunkId[]>();
  for (const { nodeId, chunkId } of copies) {
    const group = groups.get(nodeId);
    if (group === undefined) groups.set(nodeId, [chunkId]);
    else group.push(chunkId);
  }
  return groups;
}

export function* parts<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  for (let at = 0; at < items.length; at += ROWS_PER_STATEMENT) yield items.slice(at, at + ROWS_PER_STATEMENT);
}
