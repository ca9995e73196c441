/**
 * The first tables. A migration that has been released is never edited: a change is a new migration after it.
 * Chunks outlive their file's row (until agents have confirmed the deletion), so they have no foreign key to it.
 */
import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const key = (name: string, length: number): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  isPrimary: true,
});
const id = (name: string, length: number): TableColumnOptions => ({ name, type: 'varchar', length: String(length) });
const text = (name: string): TableColumnOptions => ({ name, type: 'text' });
const integer = (name: string): TableColumnOptions => ({ name, type: 'integer' });
const bigint = (name: string): TableColumnOptions => ({ name, type: 'bigint' });

const TABLES: readonly Table[] = [
  new Table({
    name: 'nodes',
    columns: [
      key('id', 12),
      id('name', 63),
      integer('slot'),
      ...['ip', 'status', 'status_reason', 'desired'].map(text),
      ...['memory_mb', 'cpu_weight', 'pids_limit'].map(integer),
      bigint('storage_bytes'),
      ...['image', 'labels'].map(text),
      { name: 'cordoned', type: 'boolean' },
      integer('loop_device'),
      ...['volume_uuid', 'receipt_key'].map(text),
      integer('pid'),
      ...['pid_start_ticks', 'boot_id'].map(text),
      bigint('created_at'),
    ],
    indices: [
      { name: 'nodes_name', columnNames: ['name'], isUnique: true },
      { name: 'nodes_slot', columnNames: ['slot'], isUnique: true },
    ],
  }),
  new Table({
    name: 'files',
    columns: [
      key('id', 16),
      ...['name', 'owner'].map(text),
      bigint('size'),
      ...['chunks_count', 'replicas'].map(integer),
      text('status'),
      bigint('created_at'),
    ],
    indices: [{ name: 'files_created', columnNames: ['created_at', 'id'] }],
  }),
  new Table({
    name: 'uploads',
    columns: [
      key('id', 32),
      id('file_id', 16),
      integer('replicas'),
      bigint('expected_size'),
      integer('granted'),
      bigint('expires_at'),
    ],
    indices: [
      { name: 'uploads_file', columnNames: ['file_id'], isUnique: true },
      { name: 'uploads_expiry', columnNames: ['expires_at'] },
    ],
    foreignKeys: [
      {
        name: 'uploads_file_key',
        columnNames: ['file_id'],
        referencedTableName: 'files',
        referencedColumnNames: ['id'],
        onDelete: 'CASCADE',
      },
    ],
  }),
  new Table({
    name: 'chunks',
    columns: [key('id', 32), id('file_id', 16), integer('chunk_index'), integer('size'), text('md5')],
    indices: [{ name: 'chunks_file', columnNames: ['file_id', 'chunk_index'], isUnique: true }],
  }),
  new Table({
    name: 'replicas',
    columns: [key('chunk_id', 32), key('node_id', 12), text('state')],
    // Two orders: everything on one node (its removal), and the few that are being written or deleted.
    indices: [
      { name: 'replicas_node', columnNames: ['node_id', 'state'] },
      { name: 'replicas_state', columnNames: ['state', 'node_id'] },
    ],
    foreignKeys: [
      {
        name: 'replicas_chunk_key',
        columnNames: ['chunk_id'],
        referencedTableName: 'chunks',
        referencedColumnNames: ['id'],
        onDelete: 'CASCADE',
      },
    ],
  }),
  new Table({
    name: 'events',
    columns: [
      { name: 'id', type: 'integer', isPrimary: true, isGenerated: true, generationStrategy: 'increment' },
      bigint('at'),
      ...['type', 'subject', 'message'].map(text),
    ],
  }),
];

export class Initial0001 implements MigrationInterface {
  /** TypeORM orders migrations by the 13 digits at the end, a time in ms. */
  readonly name = 'Initial1795507200000';

  async up(runner: QueryRunner): Promise<void> {
    for (const table of TABLES) await runner.createTable(table);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of [...TABLES].reverse()) await runner.dropTable(table.name);
  }
}
