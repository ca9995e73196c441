/** The first tables of auth.db. A migration that has been released is never edited: a change is a new one after it. */
import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const key = (name: string, length: number): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
  isPrimary: true,
});
const text = (name: string): TableColumnOptions => ({ name, type: 'text' });
const integer = (name: string): TableColumnOptions => ({ name, type: 'integer' });
const bigint = (name: string): TableColumnOptions => ({ name, type: 'bigint' });

const TABLES: readonly Table[] = [
  new Table({
    name: 'users',
    columns: [
      key('username', 32),
      ...['email', 'password_hash', 'role'].map(text),
      { name: 'disabled', type: 'boolean' },
      integer('token_generation'),
      bigint('created_at'),
    ],
    indices: [{ name: 'users_email', columnNames: ['email'], isUnique: true }],
  }),
  new Table({
    name: 'challenges',
    columns: [
      key('purpose', 16),
      key('account', 254),
      ...['salt', 'code_hash'].map(text),
      integer('attempts'),
      bigint('expires_at'),
      ...['username', 'password_hash'].map(text),
    ],
    indices: [{ name: 'challenges_expiry', columnNames: ['expires_at'] }],
  }),
  new Table({
    name: 'revocations',
    columns: [key('token_id', 32), bigint('expires_at')],
    indices: [{ name: 'revocations_expiry', columnNames: ['expires_at'] }],
  }),
  new Table({
    name: 'counters',
    columns: [key('counter_key', 320), integer('calls'), bigint('resets_at')],
    indices: [{ name: 'counters_reset', columnNames: ['resets_at'] }],
  }),
  new Table({
    name: 'audit',
    columns: [
      { name: 'id', type: 'integer', isPrimary: true, isGenerated: true, generationStrategy: 'increment' },
      bigint('at'),
      ...['action', 'username', 'actor', 'address', 'detail'].map(text),
    ],
    indices: [{ name: 'audit_username', columnNames: ['username', 'id'] }],
  }),
];

export class Accounts0001 implements MigrationInterface {
  /** TypeORM orders migrations by the 13 digits at the end, a time in ms. */
  readonly name = 'Accounts1795520000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const table of TABLES) await runner.createTable(table);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of [...TABLES].reverse()) await runner.dropTable(table.name);
  }
}
