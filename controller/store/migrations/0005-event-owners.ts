/**
 * Owners of events, so that users can read those of their own files. Earlier events stay visible to administrators
 * only.
 */
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class EventOwners0005 implements MigrationInterface {
  readonly name = 'EventOwners1795766400000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query("ALTER TABLE events ADD COLUMN owner text NOT NULL DEFAULT ''");
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE events DROP COLUMN owner');
  }
}
