/** Drains, why a copy is where it is, and small facts to remember (when a node was last scrubbed). */
import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

export class Repair0003 implements MigrationInterface {
  readonly name = 'Repair1795594000000';

  async up(runner: QueryRunner): Promise<void> {
    // Not TypeORM's addColumn, which on SQLite makes a new table and copies all rows.
    await runner.query('ALTER TABLE nodes ADD COLUMN draining boolean NOT NULL DEFAULT false');
    await runner.query("ALTER TABLE replicas ADD COLUMN reason text NOT NULL DEFAULT ''");
    await runner.createTable(
      new Table({
        name: 'marks',
        columns: [
          { name: 'name', type: 'varchar', length: '100', isPrimary: true },
          { name: 'value', type: 'bigint' },
        ],
      }),
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('marks');
    await runner.query('ALTER TABLE replicas DROP COLUMN reason');
    await runner.query('ALTER TABLE nodes DROP COLUMN draining');
  }
}
