/**
 * A database under TypeORM, of either kind: one connection that writes, others that read.
 *
 * All TypeORM transactions of one SQLite data source share one connection, so a rollback would also undo concurrent
 * writes that were already acknowledged. So every write goes through one queue on the writing connection, also on
 * PostgreSQL, where it means that what a transaction has read holds until it ends. Reads have connections of their own
 * and see committed rows only; each read is one statement, hence one snapshot.
 */
import type { DataSource, EntityManager, EntitySchema, MigrationInterface } from 'typeorm';
import { NexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import { hasUnknownOutcome } from '../port/store.js';
import { WriteQueue, type Transactions } from './write-queue.js';

/** The database as the parts of a store use it. */
export interface Database {
  /** Number of writes that happened, or may have happened. */
  readonly writes: number;
  /**
   * Runs `work` alone, completely or not at all: durable when the promise resolves, undone when it rejects (unless
   * `hasUnknownOutcome` is true of the error).
   */
  write<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result>;
  /** `work` must be one statement. */
  read<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result>;
}

/** The tables of one database, and their migrations. */
export interface Tables {
  readonly entities: readonly EntitySchema[];
  readonly migrations: readonly (new () => MigrationInterface)[];
}

/**
 * Opens a database and migrates it. Codes: data_loss (damaged), unavailable (locked, not reachable), permission_denied,
 * not_found (folder or database), failed_precondition (written by a newer Nexus, unfit), already_exists (another
 * controller has it).
 */
export type OpenDatabase = (tables: Tables, log: Logger) => Promise<TypeormDatabase>;

/** The parts that differ between the kinds of databases. */
export interface Connections {
  readonly transactions: Transactions;
  readonly reader: DataSource;
  /** Translates a value thrown by the driver into a NexusError; returns others unchanged. */
  readonly translate: (thrown: unknown) => unknown;
  /** Closes both; called once, when nothing is being written. */
  readonly close: () => Promise<void>;
  /** Removes the database's content; called after `close`. */
  readonly erase: () => Promise<void>;
}

export class TypeormDatabase implements Database {
  readonly #queue: WriteQueue;
  #open = true;
  #closing: Promise<void> | undefined;
  #writes = 0;

  constructor(private readonly connections: Connections) {
    this.#queue = new WriteQueue(connections.transactions);
  }

  async write<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    try {
      const result = await this.#translated(() => this.#queue.add(work));
      this.#writes += 1;
      return result;
    } catch (error) {
      if (hasUnknownOutcome(error)) this.#writes += 1;
      throw error;
    }
  }

  get writes(): number {
    return this.#writes;
  }

  async read<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return await this.#translated(() => work(this.connections.reader.manager));
  }

  async #translated<Result>(work: () => Promise<Result>): Promise<Result> {
    if (!this.#open) throw new NexusError('unavailable', 'the store is closed: the controller is stopping');
    try {
      return await work();
    } catch (error) {
      throw this.connections.translate(error);
    }
  }

  /** Waits for running writes; idempotent. */
  close(): Promise<void> {
    this.#open = false;
    return (this.#closing ??= this.#queue.idle().then(() => this.connections.close()));
  }

  /** Closes the database and removes its content: for the end of an instance. */
  async erase(): Promise<void> {
    await this.close();
    await this.connections.erase();
  }
}

/** `name`: the database's name in messages. Code: failed_precondition (written by a newer Nexus). */
export async function migrate(source: DataSource, name: string, log: Logger): Promise<void> {
  const known = new Set(source.migrations.map((migration) => migration.name));
  const unknown = (await appliedMigrations(source)).filter((applied) => !known.has(applied));
  if (unknown.length > 0) {
    throw new NexusError(
      'failed_precondition',
      `${name} was written by a newer version of Nexus (${unknown.join(', ')}); run that version or restore an older backup`,
    );
  }
  const done = await source.runMigrations({ transaction: 'all' });
  for (const migration of done) log.info({ migration: migration.name }, 'database migrated');
}

async function appliedMigrations(source: DataSource): Promise<readonly string[]> {
  const runner = source.createQueryRunner();
  try {
    if (!(await runner.hasTable('migrations'))) return [];
    const rows = (await runner.query('SELECT name FROM migrations')) as readonly { name: string }[];
    return rows.map((row) => row.name);
  } finally {
    // PostgreSQL has a single connection for writing, which the migrations need next.
    await runner.release().catch(() => undefined);
  }
}
