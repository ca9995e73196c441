/**
 * SQLite in one file, with two connections to it in WAL mode: readers see committed rows and never wait for the writer.
 *
 * Durable when acknowledged: WAL with synchronous=FULL syncs the log at each commit (SQLite's default in WAL is NORMAL,
 * which may lose the last commits when the power fails).
 */
import { chmod, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { DataSource } from 'typeorm';
import type { Settings } from '../../../shared/config/settings.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import { translateSqliteError } from './errors.js';
import { SqliteTransactions } from './transactions.js';
import { migrate, TypeormDatabase, type OpenDatabase, type Tables } from '../typeorm/database.js';

/** Time to wait for a lock of another program, ms: a backup tool releases its read lock far sooner. */
const BUSY_TIMEOUT_MS = 2000;

export interface SqliteLocation {
  /** The database file; created with mode 0600 if missing. Its folder must exist. */
  readonly path: string;
}

/** `name` is `nexus` or `auth`. */
export const sqliteLocation = ({ stateDir }: Pick<Settings, 'stateDir'>, name: string): SqliteLocation => ({
  path: join(stateDir, `${name}.db`),
});

export const sqlite =
  ({ path }: SqliteLocation): OpenDatabase =>
  (tables, log) =>
    openSqlite(path, tables, log);

async function openSqlite(path: string, tables: Tables, log: Logger): Promise<TypeormDatabase> {
  await makePrivateFile(path).catch((error: unknown) => {
    throw toNexusError(error).during('open the database');
  });
  const writer = new DataSource(dataSourceOptions(path, tables, prepareWriter));
  const reader = new DataSource(dataSourceOptions(path, tables, prepareReader));
  try {
    await writer.initialize();
    await migrate(writer, path, log);
    await reader.initialize();
  } catch (error) {
    for (const source of [reader, writer]) if (source.isInitialized) await source.destroy().catch(() => undefined);
    throw translateSqliteError(error, path);
  }
  return new TypeormDatabase({
    transactions: new SqliteTransactions(writer, log),
    reader,
    translate: (thrown) => translateSqliteError(thrown, path),
    close: async () => {
      await reader.destroy();
      // The last connection to close merges the log into the database file.
      if (writer.isInitialized) await writer.destroy();
    },
    erase: async () => {
      for (const suffix of ['', '-wal', '-shm']) await rm(`${path}${suffix}`, { force: true });
    },
  });
}

const dataSourceOptions = (
  path: string,
  { entities, migrations }: Tables,
  prepareDatabase: (database: Sqlite.Database) => void,
) => ({
  type: 'better-sqlite3' as const,
  database: path,
  driver: Sqlite,
  timeout: BUSY_TIMEOUT_MS,
  prepareDatabase,
  entities: [...entities],
  migrations: [...migrations],
  synchronize: false,
  logging: false,
});

function prepareWriter(database: Sqlite.Database): void {
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  const found = database.pragma('quick_check(1)', { simple: true });
  if (found !== 'ok') {
    throw new NexusError(
      'data_loss',
      `${database.name}: the database is damaged (${String(found).split('\n').join('; ')}); restore it from a backup, or move it away to start empty`,
    );
  }
}

function prepareReader(database: Sqlite.Database): void {
  database.pragma('query_only = ON');
}

/** SQLite gives its -wal and -shm files the mode of the database itself. */
async function makePrivateFile(path: string): Promise<void> {
  const file = await open(path, 'a', 0o600);
  await file.close();
  await chmod(path, 0o600);
  const folder = await open(dirname(path), 'r');
  await folder.sync();
  await folder.close();
}
