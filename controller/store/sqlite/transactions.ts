/**
 * Transactions of SQLite's writing connection.
 *
 * SQLite ends a transaction by itself when a statement fails for lack of disk, memory or I/O. TypeORM then permanently
 * counts a transaction that is gone: what it later calls a commit only releases a savepoint, and is lost with the
 * process. So the connection itself is asked before each acknowledgement, and TypeORM's count is reset after a failure.
 */
import type Sqlite from 'better-sqlite3';
import type { DataSource } from 'typeorm';
import { NexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import type { Transaction, Transactions } from '../typeorm/write-queue.js';

/** The parts of TypeORM's driver for better-sqlite3 that this depends on. */
interface Driver {
  readonly databaseConnection: Sqlite.Database;
  /** The connection's only runner, with TypeORM's count of transactions; TypeORM makes a new one if it is undefined. */
  queryRunner: unknown;
}

export class SqliteTransactions implements Transactions {
  constructor(
    private readonly source: DataSource,
    private readonly log: Logger,
  ) {}

  async run<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result> {
    // Closed after an earlier failure that could not be undone.
    if (!this.source.isInitialized) await this.source.initialize();
    try {
      const runner = this.source.createQueryRunner();
      await runner.startTransaction();
      const assertOpen = (): void => {
        if (!this.#isOpen()) throw endedByItself();
      };
      const result = await work({ manager: runner.manager, assertOpen });
      assertOpen();
      await runner.commitTransaction();
      if (this.#isOpen()) throw endedByItself();
      return result;
    } catch (error) {
      // eslint-disable-next-line house/errors-are-not-masked -- it catches for itself, and its doubts end the connection
      await this.#undo();
      throw error;
    }
  }

  get #driver(): Driver {
    return this.source.driver as unknown as Driver;
  }

  /** A function, because its answer changes from one call to the next. */
  #isOpen(): boolean {
    return this.#driver.databaseConnection.inTransaction;
  }

  async #undo(): Promise<void> {
    this.#driver.queryRunner = undefined;
    if (!this.#isOpen()) return;
    try {
      this.#driver.databaseConnection.exec('ROLLBACK');
    } catch (error) {
      this.log.warn({ err: error }, 'SQLite could not roll a write back; its connection is reopened');
    }
    // Reopen the connection even if closing fails; the first error is the one to report.
    if (this.#isOpen()) await this.source.destroy().catch(() => undefined);
  }
}

const endedByItself = (): NexusError =>
  new NexusError('unavailable', 'the database ended the write by itself, and nothing of it is stored; try again');
