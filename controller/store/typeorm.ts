/**
 * The store over TypeORM: SQLite in one file.
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
import { DataSource, type EntityManager } from 'typeorm';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { ENTITIES } from './entities.js';
import { TypeormEventStore } from './event-store.js';
import { TypeormFileStore } from './file-store.js';
import { Initial0001 } from './migrations/0001-initial.js';
import { Repair0003 } from './migrations/0003-repair.js';
import { TypeormNodeStore } from './node-store.js';
import type { EventStore, FileStore, NodeStore, Store } from './port.js';
import type { MarkStore, ReplicaStore } from './replica-port.js';
import { TypeormMarkStore, TypeormReplicaStore } from './replica-store.js';
import { translateStoreError } from './sqlite-errors.js';

/** Wait for a lock that another program holds, ms: a backup tool's read lock passes in far less. */
const BUSY_TIMEOUT_MS = 2000;

const MIGRATIONS = [Initial0001, Repair0003];

/** What the parts of the store work on. */
export interface Database {
  /** Runs `work` as one transaction, alone; it is durable when the promise resolves, undone when it rejects. */
  write<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result>;
  /** `work` must be one statement. */
  read<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result>;
}

export interface StoreOptions {
  /** The database file; made, with mode 0600, when it is not there. Its folder must exist. */
  readonly path: string;
  readonly log: Logger;
}

/**
 * Opens (and migrates) the database.
 * Codes: data_loss (damaged), unavailable (locked), permission_denied, not_found (its folder), failed_precondition (written by a newer Nexus).
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { path, log } = options;
  await makePrivateFile(path).catch((error: unknown) => {
    throw toNexusError(error).during('open the database');
  });
  const sources: DataSource[] = [];
  try {
    const writer = await new DataSource(dataSourceOptions(path, prepareWriter)).initialize();
    sources.push(writer);
    await migrate(writer, path, log);
    sources.push(await new DataSource(dataSourceOptions(path, prepareReader)).initialize());
    return new TypeormStore(path, writer, sources[1] ?? writer);
  } catch (error) {
    for (const source of sources) await source.destroy();
    throw translateStoreError(error, path);
  }
}

const dataSourceOptions = (path: string, prepareDatabase: (database: Sqlite.Database) => void) => ({
  type: 'better-sqlite3' as const,
  database: path,
  driver: Sqlite,
  timeout: BUSY_TIMEOUT_MS,
  prepareDatabase,
  entities: ENTITIES,
  migrations: MIGRATIONS,
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

class TypeormStore implements Store, Database {
  readonly nodes: NodeStore = new TypeormNodeStore(this);
  readonly files: FileStore = new TypeormFileStore(this);
  readonly replicas: ReplicaStore = new TypeormReplicaStore(this);
  readonly marks: MarkStore = new TypeormMarkStore(this);
  readonly events: EventStore = new TypeormEventStore(this);
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
