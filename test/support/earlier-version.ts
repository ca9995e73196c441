/**
 * Databases as version 0.1.0 has them. The fixture is a dump of what its own code wrote: two nodes, one of them running.
 * `takeBack` gives a present database that version's tables, with the same rows, as if it had made them.
 */
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { PROJECT } from './cluster.js';

const FIXTURE = readFileSync(join(PROJECT, 'test', 'fixtures', '0.1.0', 'nexus.sql'), 'utf8');

export function writeFixture(path: string): void {
  const database = new Sqlite(path);
  database.exec(FIXTURE);
  database.close();
}

interface Hosting {
  readonly loopDevice?: number;
  readonly volumeUuid: string;
  readonly process?: { readonly pid: number; readonly startTicks: string };
  readonly bootId: string;
}

/** The columns of 0.1.0 in place of `hosting`. */
function earlierNode({ hosting, ...common }: Record<string, unknown>): Record<string, unknown> {
  const { loopDevice = -1, volumeUuid, process, bootId } = JSON.parse(String(hosting)) as Hosting;
  return {
    ...common,
    loop_device: loopDevice,
    volume_uuid: volumeUuid,
    pid: process?.pid ?? 0,
    pid_start_ticks: process?.startTicks ?? '',
    boot_id: bootId,
  };
}

/** The controller must not run. */
export function takeBack(path: string): void {
  const present = new Sqlite(path);
  const earlierPath = `${path}.earlier`;
  const earlier = new Sqlite(earlierPath);
  earlier.exec(FIXTURE);
  earlier.exec('DELETE FROM nodes');
  const tables = earlier.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
  for (const { name } of tables.all() as { name: string }[]) {
    if (name === 'migrations') continue;
    const known = new Set((earlier.pragma(`table_info("${name}")`) as { name: string }[]).map((column) => column.name));
    const rows = present.prepare(`SELECT * FROM "${name}"`).all() as Record<string, unknown>[];
    for (const row of rows) {
      const old = name === 'nodes' ? earlierNode(row) : row;
      const columns = Object.keys(old).filter((column) => known.has(column));
      const places = columns.map(() => '?').join(', ');
      earlier
        .prepare(`INSERT INTO "${name}" (${columns.map((column) => `"${column}"`).join(', ')}) VALUES (${places})`)
        .run(...columns.map((column) => old[column]));
    }
  }
  earlier.close();
  present.close();
  for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
  renameSync(earlierPath, path);
}
