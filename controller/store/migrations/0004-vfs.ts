/** The virtual file system: entries, accounts, what uploads reserve and where they are to appear. */
import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

const varchar = (name: string, length: number): TableColumnOptions => ({
  name,
  type: 'varchar',
  length: String(length),
});
const text = (name: string): TableColumnOptions => ({ name, type: 'text' });
const bigint = (name: string): TableColumnOptions => ({ name, type: 'bigint' });

export class Vfs0004 implements MigrationInterface {
  readonly name = 'Vfs1795680000000';

  async up(runner: QueryRunner): Promise<void> {
    const isPostgres = runner.dataSource.options.type === 'postgres';
    // Names and parents sort in byte order on both databases, as is SQLite's default.
    const byBytes = isPostgres ? { collation: 'C' } : {};
    await runner.query("ALTER TABLE files ADD COLUMN kind text NOT NULL DEFAULT 'raw'");
    await runner.query('ALTER TABLE uploads ADD COLUMN reserved bigint NOT NULL DEFAULT 0');
    await runner.query("ALTER TABLE uploads ADD COLUMN parent_id varchar(40) NOT NULL DEFAULT ''");
    await runner.query("ALTER TABLE uploads ADD COLUMN entry_name text NOT NULL DEFAULT ''");
    await runner.query('ALTER TABLE uploads ADD COLUMN overwrite boolean NOT NULL DEFAULT false');
    await runner.query('CREATE INDEX files_owner ON files (owner, kind, created_at, id)');
    // Only the few retired files, whose content readers still use.
    await runner.query("CREATE INDEX files_retired ON files (id) WHERE status = 'retired'");
    await runner.createTable(
      new Table({
        name: 'entries',
        columns: [
          { ...varchar('id', 16), isPrimary: true },
          text('owner'),
          { ...varchar('parent_id', 40), ...byBytes },
          { ...text('name'), ...byBytes },
          text('type'),
          { ...varchar('file_id', 16), isNullable: true },
          bigint('created_at'),
          bigint('modified_at'),
        ],
        indices: [
          { name: 'entries_place', columnNames: ['parent_id', 'name'], isUnique: true },
          { name: 'entries_file', columnNames: ['file_id'] },
        ],
      }),
    );
    await runner.query("CREATE INDEX entries_folders ON entries (parent_id, name) WHERE type = 'folder'");
    await runner.createTable(
      new Table({
        name: 'accounts',
        columns: [
          { ...text('owner'), isPrimary: true },
          { ...bigint('quota'), isNullable: true },
          bigint('used'),
          bigint('reserved'),
          bigint('created_at'),
        ],
      }),
    );
    // Counts the files of earlier versions.
    await runner.query(
      `INSERT INTO accounts (owner, used, reserved, created_at)
       SELECT owner, SUM(size), 0, MIN(created_at) FROM files WHERE status = 'ready' GROUP BY owner`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropTable('accounts');
    await runner.dropTable('entries');
    await runner.query('DROP INDEX files_retired');
    await runner.query('DROP INDEX files_owner');
    for (const column of ['overwrite', 'entry_name', 'parent_id', 'reserved'])
      await runner.query(`ALTER TABLE uploads DROP COLUMN ${column}`);
    await runner.query('ALTER TABLE files DROP COLUMN kind');
  }
}
