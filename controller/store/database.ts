/**
 * Opens one database through TypeORM: SQLite in one file. What lies in it (entities, migrations) is the caller's: the
 * cluster's store and the accounts have a database each.
 *
 * Two connections. All TypeORM transactions of one SQLite data source share one connection, so a rollback would take
 * concurrent, already fulfilled writes with it: every write goes through one mutex on the writing connection. Reads have a
 * connection of their own (WAL), so that they see committed rows only; each read is one statement, hence one snapshot.
 *
 * Durable when acknowledged: WAL with synchronous=FULL syncs the log at each commit (SQLite's default in WAL is NORMAL,
 * which may lose the last commits when the power fails).
 */
import { chmod, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Mutex } from 'async-mutex';
import Sqlite from 'better-sqlite3';
import { DataSource, type EntityManager, type EntitySchema, type MigrationInterface } from 'typeorm';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { translateStoreError } from './sqlite-errors.js';

/** Wait for a lock that another program holds, ms: a backup tool's read lock passes in far less. */
const BUSY_TIMEOUT_MS = 2000;

/** What the parts of a store work on. */
export interface Database {
  /** Runs `work` as one transaction, alone; it is durable when the promise resolves, undone when it rejects. */
  write<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result>;
  /** `work` must be one statement. */
  read<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result>;
  /** Waits for running writes; idempotent. */
  close(): Promise<void>;
}

export interface StoreOptions {
  /** The database file; made, with mode 0600, when it is not there. Its folder must exist. */
  readonly path: string;
  readonly log: Logger;
}

/** What lies in a database. */
export interface Schema {
  readonly entities: readonly EntitySchema[];
  /** In order; never edited after a release. */
  readonly migrations: readonly (new () => MigrationInterface)[];
}

/**
 * Opens (and migrates) the database.
 * Codes: data_loss (damaged), unavailable (locked), permission_denied, not_found (its folder), failed_precondition (written by a newer Nexus).
 */
export async function openDatabase(options: StoreOptions, schema: Schema): Promise<Database> {
  const { path, log } = options;
  await makePrivateFile(path).catch((error: unknown) => {
    throw toNexusError(error).during('open the database');
  });
  const sources: DataSource[] = [];
  try {
    const writer = await new DataSource(dataSourceOptions(path, schema, prepareWriter)).initialize();
    sources.push(writer);
    await migrate(writer, path, log);
    sources.push(await new DataSource(dataSourceOptions(path, schema, prepareReader)).initialize());
    return new SqliteDatabase(path, writer, sources[1] ?? writer);
  } catch (error) {
    for (const source of sources) await source.destroy();
    throw translateStoreError(error, path);
  }
}

const dataSourceOptions = (path: string, schema: Schema, prepareDatabase: (database: Sqlite.Database) => void) => ({
  type: 'better-sqlite3' as const,
  database: path,
  driver: Sqlite,
  timeout: BUSY_TIMEOUT_MS,
  prepareDatabase,
  entities: [...schema.entities],
  migrations: [...schema.migrations],
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

async function migrate(source: DataSource, path: string, log: Logger): Promise<void> {
  const known = new Set(source.migrations.map((migration) => migration.name));
  const unknown = (await appliedMigrations(source)).filter((name) => !known.has(name));
  if (unknown.length > 0) {
    throw new NexusError(
      'failed_precondition',
      `${path} was written by a newer version of Nexus (${unknown.join(', ')}); run that version or restore an older backup`,
    );
  }
  const done = await source.runMigrations({ transaction: 'all' });
  for (const migration of done) log.info({ migration: migration.name }, 'database migrated');
}

async function appliedMigrations(source: DataSource): Promise<readonly string[]> {
  const runner = source.createQueryRunner();
  if (!(await runner.hasTable('migrations'))) return [];
  const rows = (await runner.query('SELECT name FROM migrations')) as readonly { name: string }[];
  return rows.map((row) => row.name);
}

class SqliteDatabase implements Database {
  readonly #writing = new Mutex();
  #open = true;

  constructor(
    private readonly path: string,
    private readonly writer: DataSource,
    private readonly reader: DataSource,
  ) {}

  async write<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return await this.#writing.runExclusive(() => this.#translated(() => this.writer.transaction(work)));
  }

  async read<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return await this.#translated(() => work(this.reader.manager));
  }

  async #translated<Result>(work: () => Promise<Result>): Promise<Result> {
    if (!this.#open) throw new NexusError('unavailable', 'the store is closed: the controller is stopping');
    try {
      return await work();
    } catch (error) {
      throw translateStoreError(error, this.path);
    }
  }

  async close(): Promise<void> {
    await this.#writing.runExclusive(async () => {
      if (!this.#open) return;
      this.#open = false;
      await this.reader.destroy();
      // The last connection to close moves the log into the database file.
      await this.writer.destroy();
    });
  }
}
