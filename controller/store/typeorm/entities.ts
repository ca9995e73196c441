/**
 * The tables of the records. EntitySchema with explicit column types: decorators would need type metadata that the test
 * runner does not emit.
 */
import { EntitySchema } from 'typeorm';
import type { ChunkId, FileId, NodeId } from '../../../shared/ids.js';
import { bigint, integer, text } from './database-columns.js';
import type { EventRecord, FileRecord, NodeRecord, ReplicaState, UploadRecord } from '../port/store.js';

export interface ChunkRow {
  readonly id: ChunkId;
  readonly fileId: FileId;
  readonly index: number;
  readonly size: number;
  /** Only of files with explicit sizes. */
  readonly offset: number | null;
  readonly md5: string;
}

export interface ReplicaRow {
  readonly chunkId: ChunkId;
  readonly nodeId: NodeId;
  readonly state: ReplicaState;
  /** Why the copy is where it is, for people. */
  readonly reason: string;
}

export interface MarkRow {
  readonly name: string;
  readonly value: number;
}

/** The slot of a node's hosting has a unique column of its own. */
export type NodeRow = Omit<NodeRecord, 'hosting'> & {
  readonly slot: number;
  /** The rest of the hosting, as JSON. */
  readonly hosting: string;
};

export const NodeEntity = new EntitySchema<NodeRow>({
  name: 'node',
  tableName: 'nodes',
  columns: {
    id: { type: 'varchar', length: 12, primary: true },
    name: { type: 'varchar', length: 63 },
    slot: integer('slot'),
    ip: text('ip'),
    status: text('status'),
    statusReason: text('status_reason'),
    desired: text('desired'),
    memoryMb: integer('memory_mb'),
    cpuWeight: integer('cpu_weight'),
    pidsLimit: integer('pids_limit'),
    storageBytes: bigint('storage_bytes'),
    image: text('image'),
    labels: { type: 'simple-json' },
    cordoned: { type: 'boolean' },
    draining: { type: 'boolean', default: false },
    receiptKey: text('receipt_key'),
    hosting: text('hosting'),
    createdAt: bigint('created_at'),
  },
});

export const FileEntity = new EntitySchema<FileRecord>({
  name: 'file',
  tableName: 'files',
  columns: {
    id: { type: 'varchar', length: 16, primary: true },
    kind: { type: 'text', default: 'raw' },
    name: text('name'),
    owner: text('owner'),
    size: bigint('size'),
    chunksCount: integer('chunks_count'),
    replicas: integer('replicas'),
    status: text('status'),
    createdAt: bigint('created_at'),
    explicitSizes: { type: 'boolean', name: 'explicit_sizes', default: false },
  },
});

export const UploadEntity = new EntitySchema<UploadRecord>({
  name: 'upload',
  tableName: 'uploads',
  columns: {
    id: { type: 'varchar', length: 32, primary: true },
    fileId: { type: 'varchar', length: 16, name: 'file_id' },
    replicas: integer('replicas'),
    expectedSize: bigint('expected_size'),
    granted: integer('granted'),
    expiresAt: bigint('expires_at'),
    reserved: bigint('reserved'),
    parentId: { type: 'varchar', length: 40, name: 'parent_id' },
    entryName: text('entry_name'),
    overwrite: { type: 'boolean' },
  },
});

export const ChunkEntity = new EntitySchema<ChunkRow>({
  name: 'chunk',
  tableName: 'chunks',
  columns: {
    id: { type: 'varchar', length: 32, primary: true },
    fileId: { type: 'varchar', length: 16, name: 'file_id' },
    index: integer('chunk_index'),
    size: integer('size'),
    offset: { type: 'bigint', name: 'chunk_offset', nullable: true },
    md5: text('md5'),
  },
});

export const ReplicaEntity = new EntitySchema<ReplicaRow>({
  name: 'replica',
  tableName: 'replicas',
  columns: {
    chunkId: { type: 'varchar', length: 32, primary: true, name: 'chunk_id' },
    nodeId: { type: 'varchar', length: 12, primary: true, name: 'node_id' },
    state: text('state'),
    reason: text('reason'),
  },
});

export const MarkEntity = new EntitySchema<MarkRow>({
  name: 'mark',
  tableName: 'marks',
  columns: { name: { type: 'varchar', length: 100, primary: true }, value: bigint('value') },
});

export const EventEntity = new EntitySchema<EventRecord>({
  name: 'event',
  tableName: 'events',
  columns: {
    id: { type: 'integer', primary: true, generated: 'increment' },
    at: bigint('at'),
    type: text('type'),
    subject: text('subject'),
    message: text('message'),
    owner: text('owner'),
  },
});

export const ENTITIES = [NodeEntity, FileEntity, UploadEntity, ChunkEntity, ReplicaEntity, MarkEntity, EventEntity];
