/**
 * A write that is acknowledged is committed, also after SQLite has ended a transaction by itself for want of room. The
 * pages of the database are limited in place of its disk, which leads to the same code at the same places.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { expect } from 'chai';
import { DataSource, type EntityManager } from 'typeorm';
import { translateSqliteError } from '../../controller/store/sqlite/errors.js';
import { SqliteTransactions } from '../../controller/store/sqlite/transactions.js';
import { WriteQueue } from '../../controller/store/typeorm/write-queue.js';
import { createLogger } from '../../shared/log.js';

const log = createLogger('test', 'silent');
const BIG = 'x'.repeat(100_000);

describe('writes to SQLite when its room ends', () => {
  let folder: string;
  let path: string;
  let source: DataSource;
  let connection: Sqlite.Database;
  let connections = 0;
  let queue: WriteQueue;
  /** A second connection sees what is committed, and nothing else. */
  let witness: Sqlite.Database;

  const write = (id: number, text = ''): Promise<number> =>
    queue.add(async (manager) => {
      await manager.query('INSERT INTO t (id, text) VALUES (?, ?)', [id, text]);
      return id;
    });
  const stored = (): unknown[] => witness.prepare('SELECT id FROM t ORDER BY id').pluck().all();
  const codeOfDriver = (error: unknown): unknown => (error as { driverError?: { code?: unknown } }).driverError?.code;
  const full = async (work: () => Promise<unknown>): Promise<void> => {
    const code = await work().then(() => 'done', codeOfDriver);
    expect(code).to.equal('SQLITE_FULL');
  };
  const fill = (): void => {
    const pages = Number(connection.pragma('page_count', { simple: true }));
    connection.pragma(`max_page_count = ${pages + 1}`);
  };
  const free = (): void => {
    connection.pragma('max_page_count = 1000000');
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-full-'));
    path = join(folder, 'a.db');
    connections = 0;
    source = await new DataSource({
      type: 'better-sqlite3',
      database: path,
      driver: Sqlite,
      prepareDatabase: (database: Sqlite.Database) => {
        database.pragma('journal_mode = WAL');
        database.exec('CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)');
        connection = database;
        connections += 1;
      },
    }).initialize();
    queue = new WriteQueue(new SqliteTransactions(source, log));
    witness = new Sqlite(path, { readonly: true });
  });
  afterEach(async () => {
    witness.close();
    if (source.isInitialized) await source.destroy();
    await rm(folder, { recursive: true });
  });

  it('commits each acknowledged write after one that was refused', async () => {
    await write(1);
    fill();
    await full(() => write(2, BIG));
    free();
    await write(3);
    expect(connection.inTransaction).to.equal(false);
    expect(stored()).to.deep.equal([1, 3]);
    await expectRefusal(write(3), 'SQLITE_CONSTRAINT_PRIMARYKEY');
    await write(4);
    expect(stored()).to.deep.equal([1, 3, 4]);
  });

  it('refuses a whole group with the write that ended its transaction, and nothing of it is stored', async () => {
    await write(1);
    fill();
    const group = await Promise.allSettled([write(2), write(3, BIG), write(4)]);
    expect(group.map((one) => (one.status === 'rejected' ? codeOfDriver(one.reason) : 'done'))).to.deep.equal(
      Array(3).fill('SQLITE_FULL'),
    );
    free();
    expect(stored()).to.deep.equal([1]);
    expect(await Promise.all([write(5), write(6)])).to.deep.equal([5, 6]);
    expect(stored()).to.deep.equal([1, 5, 6]);
  });

  it('does not go on in a transaction of its own after a write that swallowed the end of the first one', async () => {
    fill();
    const swallowing = (manager: EntityManager): Promise<unknown> =>
      manager.query('INSERT INTO t (id, text) VALUES (1, ?)', [BIG]).catch(() => undefined);
    expect((await Promise.allSettled([queue.add(swallowing), write(2)])).map((one) => one.status)).to.deep.equal([
      'rejected',
      'rejected',
    ]);
    expect((await Promise.allSettled([queue.add(swallowing)])).map((one) => one.status)).to.deep.equal(['rejected']);
    expect(stored()).to.deep.equal([]);
    free();
    await write(3);
    expect(stored()).to.deep.equal([3]);
  });

  it('opens the connection anew where even the rollback fails', async () => {
    await write(1);
    const broken = connection;
    const outcome = queue.add(async (manager) => {
      await manager.query('INSERT INTO t (id) VALUES (2)');
      // As a disk that fails while the journal is read back.
      broken.exec = () => {
        throw new Error('the disk failed');
      };
      const prepare = broken.prepare.bind(broken);
      broken.prepare = (sql: string) => {
        if (sql.startsWith('ROLLBACK')) throw new Error('the disk failed');
        return prepare(sql);
      };
      throw new Error('a reason of its own');
    });
    expect(await outcome.then(() => 'done', String)).to.equal('Error: a reason of its own');
    await write(3);
    expect(connections).to.equal(2);
    expect(stored()).to.deep.equal([1, 3]);
  });

  it('takes a failure of the disk for want of room where it has none', () => {
    const thrown = Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_SHMSIZE' });
    // It never has a free byte.
    expect(translateSqliteError(thrown, '/proc/nexus.db')).to.deep.include({
      code: 'resource_exhausted',
      message: '/proc/nexus.db: the disk is full; make room on it',
    });
    expect(translateSqliteError(thrown, path)).to.deep.include({ code: 'internal' });
  });

  const expectRefusal = async (work: Promise<unknown>, code: string): Promise<void> => {
    expect(await work.then(() => 'done', codeOfDriver)).to.equal(code);
  };
});
