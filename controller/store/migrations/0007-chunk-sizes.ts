/** Files whose chunks have explicit sizes: each of those chunks has its offset. Rows of other files stay as they are. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ChunkSizes0007 implements MigrationInterface {
  readonly name = 'ChunkSizes1796100000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE files ADD COLUMN explicit_sizes boolean NOT NULL DEFAULT false');
    await runner.query('ALTER TABLE chunks ADD COLUMN chunk_offset bigint');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE chunks DROP COLUMN chunk_offset');
    await runner.query('ALTER TABLE files DROP COLUMN explicit_sizes');
  }
}
