/** Where a code was asked from: tries from there and from elsewhere are counted apart. */
import { TableColumn, type MigrationInterface, type QueryRunner } from 'typeorm';

const COLUMNS = [
  new TableColumn({ name: 'origin', type: 'varchar', length: '64', default: "''" }),
  new TableColumn({ name: 'attempts_elsewhere', type: 'integer', default: 0 }),
];

export class CodeOrigins0002 implements MigrationInterface {
  readonly name = 'CodeOrigins1795606400000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.addColumns('challenges', COLUMNS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.dropColumns('challenges', COLUMNS);
  }
}
