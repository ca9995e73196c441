/** What the store promises beyond the port where it is on PostgreSQL: one writer, durability, and clear words. */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Store } from '../../controller/store/port/store.js';
import { postgres as onPostgres, type PostgresLocation } from '../../controller/store/postgres/open.js';
import { openStore } from '../../controller/store/typeorm/store.js';
import { createLogger } from '../../shared/log.js';
import { eventually } from '../support/cluster.js';
import { codeOf, errorOf } from '../support/codes.js';
import { PostgresProxy } from '../support/postgres-proxy.js';
import { testPostgres, whyNoPostgres, type TestPostgres } from '../support/postgres.js';
import { nodeId, nodeRecord, openUpload, storeFile } from '../support/records.js';

const log = createLogger('test', 'silent');
/** Of our advisory locks; as in the adapter. */
const LOCK_CLASS = 0x6e657875;

describe('store on PostgreSQL', function () {
  this.timeout(180_000);
  let postgres: TestPostgres;
  let location: PostgresLocation;
  const opened: Store[] = [];

  const openIt = async (change: Partial<PostgresLocation> = {}): Promise<Store> => {
    const store = await openStore(onPostgres({ ...location, ...change }), log);
    opened.push(store);
    return store;
  };
  const reserve = (store: Store, name: string) => store.nodes.reserve(1000, (slot) => nodeRecord(name, slot));

  before(async function () {
    const reason = whyNoPostgres();
    if (reason !== undefined && process.env['NEXUS_REQUIRE_SYSTEM'] !== '1') {
      process.stderr.write(`    skipped: ${reason}\n`);
      this.skip();
    }
    postgres = await testPostgres();
  });
  beforeEach(() => {
    location = postgres.location();
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
  });

  it('keeps everything over a close and reopen', async () => {
    const store = await openIt();
    const node = await reserve(store, 'a');
    const { file } = await storeFile(store.files, [[nodeId(1)]]);
    const { id } = await openUpload(store.files, [[nodeId(1)]]);
    const event = await store.events.append({ at: 1, type: 't', subject: 's', message: 'm', owner: 'o' });
    await store.close();
    const again = await openIt();
    expect(await again.nodes.list()).to.deep.equal([node]);
    expect(await again.files.getFile(file.id)).to.deep.equal(file);
    expect(await again.files.uploadChunks(id)).to.have.length(1);
    expect(await again.events.list(0)).to.deep.equal([event]);
  });

  it('has every acknowledged write after the server crashed in the middle, and works on when it is back', async () => {
    const store = await openIt();
    const acknowledged: string[] = [];
    const write = async (): Promise<string> => {
      for (let number = 0; ; number += 1) {
        const code = await codeOf(() => reserve(store, `n${number}`));
        if (code !== 'accepted') return code;
        acknowledged.push(`n${number}`);
      }
    };
    const writing = write();
    while (acknowledged.length < 20) await new Promise((resolve) => setImmediate(resolve));
    await postgres.stopServer('SIGQUIT');
    expect(await writing).to.equal('unavailable');
    expect(await codeOf(() => store.nodes.list())).to.equal('unavailable');
    await postgres.startServer();
    expect((await store.nodes.list()).map((node) => node.name)).to.include.members(acknowledged);
    expect((await reserve(store, 'after')).name).to.equal('after');
  });

  describe('whose connection breaks while a write is committed', () => {
    let proxy: PostgresProxy;
    const opening = (change: Partial<PostgresLocation> = {}) => {
      const url = location.url.replace(`host=${postgres.folder}`, `host=${proxy.folder}`);
      return openIt({ url, ...change });
    };
    const names = async (store: Store): Promise<string[]> => (await store.nodes.list()).map((node) => node.name);

    beforeEach(async () => {
      proxy = await PostgresProxy.start(postgres.folder);
    });
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close();
      await proxy.stop();
    });

    it('refuses a write whose COMMIT never arrived, as one to try again', async () => {
      const store = await opening();
      await reserve(store, 'before');
      proxy.cutNext = 'commit';
      const error = await errorOf(() => reserve(store, 'cut'));
      expect(error.code).to.equal('unavailable');
      expect(error.details).to.not.have.property('outcome');
      expect((await reserve(store, 'after')).hosting.slot).to.equal(1);
      expect(await names(store)).to.deep.equal(['before', 'after']);
      expect(proxy.cuts).to.equal(1);
    });

    it('asks whether a COMMIT was done whose answer never came', async () => {
      const store = await opening();
      proxy.cutNext = 'answer';
      expect((await reserve(store, 'cut')).name).to.equal('cut');
      proxy.cutNext = 'answer';
      const group = await Promise.all([reserve(store, 'b'), codeOf(() => reserve(store, 'cut')), reserve(store, 'c')]);
      expect(group[1]).to.equal('already_exists');
      expect(await names(store)).to.deep.equal(['cut', 'b', 'c']);
      expect(proxy.cuts).to.equal(2);
    });

    it('never acknowledges what it cannot ask about, says so, and recovers', async () => {
      const store = await opening({ outcomeTimeoutMs: 500 });
      const revision = store.archive.revision();
      proxy.cutNext = 'answer';
      proxy.away = true;
      const error = await errorOf(() => reserve(store, 'cut'));
      expect(error.code).to.equal('unavailable');
      expect(error.details['outcome']).to.equal('unknown');
      expect(error.message).to.include('check before you try again');
      // What is written from the store is written again.
      expect(store.archive.revision()).to.be.above(revision);
      proxy.away = false;
      expect((await reserve(store, 'after')).name).to.equal('after');
      expect(await names(store)).to.deep.equal(['cut', 'after']);
    });
  });

  it('refuses a second controller for as long as the first one lives', async () => {
    const first = await openIt();
    const error = await errorOf(() => openIt());
    expect(error.code).to.equal('already_exists');
    expect(error.message).to.include(location.schema);
    await openIt(postgres.location());
    await first.close();
    await openIt();
  });

  it('writes only with the lock, also after its session was ended by force', async () => {
    let losses = 0;
    const store = await openIt({ lost: () => (losses += 1) });
    const endSessions = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'nexus ${location.schema} %'`;
    await postgres.query(endSessions);
    const holders = `SELECT count(*)::int AS "count" FROM pg_locks WHERE locktype = 'advisory' AND granted
      AND objid = (hashtext('${location.schema}')::bigint & 4294967295)::oid`;
    // By itself, without a write.
    await eventually(
      () => postgres.query(holders),
      (found) => found[0]?.['count'] === 1,
    );
    expect(await codeOf(() => reserve(store, 'a'))).to.equal('accepted');
    // Somebody else takes the lock in the very moment in which it is free, and keeps it.
    const lock = `pg_advisory_lock(${LOCK_CLASS}, hashtext('${location.schema}'))`;
    const other = codeOf(() =>
      postgres.query(`${endSessions} AND pid <> pg_backend_pid(); SELECT ${lock}, pg_sleep(600)`),
    );
    const sleeper = `pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'`;
    await eventually(
      () => postgres.query(`SELECT ${sleeper}`),
      (found) => found.length === 1,
    );
    expect(await codeOf(() => reserve(store, 'c'))).to.be.oneOf(['already_exists', 'unavailable']);
    expect(await codeOf(() => reserve(store, 'd'))).to.equal('already_exists');
    expect(losses).to.equal(1);
    await postgres.query(`SELECT pg_terminate_backend(pid) FROM (SELECT ${sleeper}) AS holder`);
    await other;
    // What it knew is stale for good.
    expect(await codeOf(() => reserve(store, 'e'))).to.equal('already_exists');
    expect((await store.nodes.list()).map((node) => node.name)).to.deep.equal(['a']);
  });

  it('leaves no session behind', async () => {
    const store = await openIt();
    await store.close();
    const sessions = await postgres.query(
      `SELECT count(*)::int AS "left" FROM pg_stat_activity WHERE application_name LIKE 'nexus ${location.schema} %'`,
    );
    expect(sessions).to.deep.equal([{ left: 0 }]);
  });

  it('removes its schema at the end of an instance, and nothing else', async () => {
    const other = await openIt(postgres.location());
    const store = await openIt();
    await reserve(store, 'a');
    await store.erase();
    const schemas = await postgres.query('SELECT nspname AS "name" FROM pg_namespace');
    expect(schemas.map((row) => row['name'])).to.not.include(location.schema);
    expect(await other.nodes.list()).to.deep.equal([]);
  });

  it('refuses a schema that a newer version has written', async () => {
    await (await openIt()).close();
    await postgres.query(
      `INSERT INTO ${location.schema}.migrations (timestamp, name) VALUES (9999999999999, 'Later9999999999999')`,
    );
    const error = await errorOf(() => openIt());
    expect(error.code).to.equal('failed_precondition');
    expect(error.message).to.include('newer').and.include('Later9999999999999');
  });

  describe('says what is wrong, and never the password:', () => {
    const password = 'a-very-secret-word';
    const refusal = async (change: Partial<PostgresLocation>) => {
      const error = await errorOf(() => openIt(change));
      expect(JSON.stringify([error.message, error.details, String(error.stack)])).to.not.include(password);
      return error;
    };
    const secret = async (mode: number): Promise<string> => {
      const path = join(postgres.folder, `secret-${mode}`);
      await writeFile(path, password);
      await chmod(path, mode);
      return path;
    };

    it('a wrong password', async () => {
      expect((await refusal({ passwordFile: await secret(0o600) })).code).to.equal('permission_denied');
    });

    it('a password file that others can read', async () => {
      const error = await refusal({ passwordFile: await secret(0o640) });
      expect(error.code).to.equal('permission_denied');
      expect(error.message).to.include('chmod 600');
    });

    it('a password file that is not there', async () => {
      expect((await refusal({ passwordFile: join(postgres.folder, 'absent') })).code).to.equal('not_found');
    });

    it('a password in the address', async () => {
      const error = await refusal({ url: `postgresql://nexus:${password}@localhost/nexus` });
      expect(error.code).to.equal('invalid_argument');
    });

    it('a database that is not there', async () => {
      const error = await refusal({ url: postgres.url('absent') });
      expect(error.code).to.equal('not_found');
      expect(error.message).to.include('absent').and.include('createdb');
    });

    it('a server that is not there', async () => {
      const error = await refusal({ url: `postgresql://nexus@localhost/nexus?host=${postgres.folder}/data` });
      expect(error.code).to.equal('unavailable');
    });

    it('a database that sorts in another way than SQLite', async () => {
      const locales = await postgres.query(
        `SELECT collname AS "name" FROM pg_collation WHERE collprovider = 'c' AND collname NOT IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'ucs_basic')`,
      );
      const options =
        locales.length > 0 ? `LOCALE '${String(locales[0]?.['name'])}'` : "ENCODING 'SQL_ASCII' LOCALE 'C'";
      await postgres.createDatabase('sorted', `TEMPLATE template0 ${options}`);
      const error = await refusal({ url: postgres.url('sorted') });
      expect(error.code).to.equal('failed_precondition');
      expect(error.message).to.include('C.UTF-8');
    });
  });
});
