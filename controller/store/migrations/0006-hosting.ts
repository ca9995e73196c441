/** Puts the host's part of a node's record into one column: each kind of hosting has facts of its own. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Portable to SQLite and PostgreSQL. Ticks, boot ids and UUIDs need no escapes in JSON. */
const AS_JSON = `'{"kind":"' || CASE WHEN loop_device < 0 THEN 'process' ELSE 'contained' END || '"'
  || CASE WHEN loop_device < 0 THEN '' ELSE ',"loopDevice":' || CAST(loop_device AS text) END
  || CASE WHEN pid = 0 THEN '' ELSE
       ',"process":{"pid":' || CAST(pid AS text) || ',"startTicks":"' || pid_start_ticks || '"}' END
  || ',"volumeUuid":"' || volume_uuid || '","bootId":"' || boot_id || '"}'`;

const COLUMNS = ['loop_device', 'volume_uuid', 'pid', 'pid_start_ticks', 'boot_id'];

export class Hosting0006 implements MigrationInterface {
  readonly name = 'Hosting1796000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query("ALTER TABLE nodes ADD COLUMN hosting text NOT NULL DEFAULT ''");
    await runner.query(`UPDATE nodes SET hosting = ${AS_JSON}`);
    for (const column of COLUMNS) await runner.query(`ALTER TABLE nodes DROP COLUMN ${column}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const isPostgres = runner.dataSource.options.type === 'postgres';
    const field = (...path: readonly string[]): string =>
      isPostgres ? `(hosting::json #>> '{${path.join(',')}}')` : `json_extract(hosting, '$.${path.join('.')}')`;
    const number = (text: string, missing: number): string => `COALESCE(CAST(${text} AS integer), ${missing})`;
    const text = (found: string): string => `COALESCE(${found}, '')`;
    for (const column of ['loop_device', 'pid']) {
      await runner.query(`ALTER TABLE nodes ADD COLUMN ${column} integer NOT NULL DEFAULT 0`);
    }
    for (const column of ['volume_uuid', 'pid_start_ticks', 'boot_id']) {
      await runner.query(`ALTER TABLE nodes ADD COLUMN ${column} text NOT NULL DEFAULT ''`);
    }
    await runner.query(`UPDATE nodes SET
      loop_device = ${number(field('loopDevice'), -1)}, pid = ${number(field('process', 'pid'), 0)},
      volume_uuid = ${text(field('volumeUuid'))}, boot_id = ${text(field('bootId'))},
      pid_start_ticks = ${text(field('process', 'startTicks'))}`);
    await runner.query('ALTER TABLE nodes DROP COLUMN hosting');
  }
}
