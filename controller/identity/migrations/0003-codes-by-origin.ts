/** Codes by where they were asked from, too: what strangers ask for takes the place of nobody else's. */
import { Table, type MigrationInterface, type QueryRunner } from 'typeorm';

export class CodesByOrigin0003 implements MigrationInterface {
  readonly name = 'CodesByOrigin1796083200000';

  async up(runner: QueryRunner): Promise<void> {
    await rebuild(runner, ['purpose', 'account', 'origin']);
  }

  /** Codes are void after minutes: they are asked for again, as several would have the same key. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DELETE FROM challenges');
    await rebuild(runner, ['purpose', 'account']);
  }
}

/** Written anew: SQLite changes no keys. */
async function rebuild(runner: QueryRunner, keys: readonly string[]): Promise<void> {
  const integer = { type: 'integer' };
  const columns = [
    { name: 'purpose', type: 'varchar', length: '16' },
    { name: 'account', type: 'varchar', length: '254' },
    { name: 'origin', type: 'varchar', length: '64', default: "''" },
    ...['salt', 'code_hash', 'username', 'password_hash'].map((name) => ({ name, type: 'text' })),
    { name: 'attempts', ...integer },
    { name: 'attempts_elsewhere', ...integer, default: 0 },
    { name: 'expires_at', type: 'bigint' },
  ].map((column) => ({ ...column, isPrimary: keys.includes(column.name) }));
  await runner.query('DROP INDEX challenges_expiry');
  await runner.query('ALTER TABLE challenges RENAME TO challenges_before');
  const indices = [{ name: 'challenges_expiry', columnNames: ['expires_at'] }];
  await runner.createTable(new Table({ name: 'challenges', columns, indices }));
  const names = columns.map(({ name }) => name).join(', ');
  await runner.query(`INSERT INTO challenges (${names}) SELECT ${names} FROM challenges_before`);
  await runner.query('DROP TABLE challenges_before');
}
