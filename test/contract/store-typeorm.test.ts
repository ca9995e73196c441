/** What the SQLite store promises beyond the port: durability, privacy of its files, and clear words for damage. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Sqlite from 'better-sqlite3';
import { expect } from 'chai';
import { MAX_EVENTS } from '../../controller/store/port/bounds.js';
import type { Store } from '../../controller/store/port/store.js';
import { sqlite } from '../../controller/store/sqlite/open.js';
import { openStore } from '../../controller/store/typeorm/store.js';
import { createLogger } from '../../shared/log.js';
import { errorOf } from '../support/codes.js';
import { writeFixture } from '../support/earlier-version.js';
import { nodeId, nodeRecord, openUpload, storeFile } from '../support/records.js';

const log = createLogger('test', 'silent');

describe('store on SQLite', () => {
  let folder: string;
  let path: string;
  const opened: Store[] = [];

  const openIt = async (): Promise<Store> => {
    const store = await openStore(sqlite({ path }), log);
    opened.push(store);
    return store;
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-store-'));
    path = join(folder, 'nexus.db');
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    await rm(folder, { recursive: true });
  });

  it('keeps everything over a close and reopen', async () => {
    const store = await openIt();
    const node = await store.nodes.reserve(5, (slot) => nodeRecord('a', slot));
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

  it('has every acknowledged write after the process was killed with SIGKILL in the middle of its work', async () => {
    const script = new URL('../support/store-child.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, ['--import=tsx', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    const acknowledged: string[] = [];
    for await (const name of createInterface({ input: child.stdout })) {
      acknowledged.push(name);
      if (acknowledged.length === 30) child.kill('SIGKILL');
    }
    await exited;
    expect(child.signalCode).to.equal('SIGKILL');
    expect(acknowledged.length).to.be.at.least(30);
    const names = (await (await openIt()).nodes.list()).map((node) => node.name);
    expect(names).to.include.members(acknowledged);
  });

  it('is readable by its owner alone, with all its files', async () => {
    const store = await openIt();
    await store.nodes.reserve(1, (slot) => nodeRecord('a', slot));
    for (const suffix of ['', '-wal', '-shm']) {
      expect((await stat(`${path}${suffix}`)).mode & 0o777, suffix).to.equal(0o600);
    }
  });

  it('becomes private when it was not', async () => {
    await (await openIt()).close();
    await chmod(path, 0o644);
    await openIt();
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
  });

  it('counts lacking copies and finds what a node alone has without reading a table again for each row of another', async () => {
    const store = await openIt();
    await storeFile(store.files, [[nodeId(0), nodeId(3)]], { replicas: 3 });
    const { file: alone } = await storeFile(store.files, [[nodeId(3)]], { replicas: 1 });
    const asked: string[] = [];
    const driver = Sqlite.prototype as { prepare: (sql: string) => Sqlite.Statement };
    const { prepare } = driver;
    driver.prepare = function (sql) {
      asked.push(sql);
      return prepare.call(this, sql);
    };
    try {
      expect((await store.files.totals()).underReplicated).to.equal(1);
      expect(await store.files.filesOnlyOn(nodeId(3), [0, 1, 2].map(nodeId))).to.deep.equal([alone]);
    } finally {
      driver.prepare = prepare;
    }
    expect(asked).to.have.length(2);
    const raw = new Sqlite(path, { readonly: true });
    expect(asked.flatMap((sql) => repeatedScans(raw, sql))).to.deep.equal([]);
    const square = 'SELECT id, (SELECT COUNT(*) FROM chunks other WHERE other.size > chunks.size) FROM chunks';
    expect(repeatedScans(raw, square), 'what this sees').to.deep.equal(['SCAN other']);
    raw.close();
  });

  it('trims the history of events to its bound', async () => {
    await (await openIt()).close();
    const raw = new Sqlite(path);
    const insert = raw.prepare("INSERT INTO events (at, type, subject, message) VALUES (1, 't', 's', 'm')");
    raw.transaction(() => {
      for (let count = 0; count < MAX_EVENTS; count += 1) insert.run();
    })();
    raw.close();
    const store = await openIt();
    const last = await store.events.append({ at: 2, type: 't', subject: 's', message: 'last', owner: '' });
    const events = await store.events.list(0);
    expect(events).to.have.length(MAX_EVENTS);
    expect(events.at(-1)).to.deep.equal(last);
  });

  it('says so when the file is no database', async () => {
    await writeFile(path, 'no database at all, but long enough to be taken for the header of one'.repeat(20));
    const error = await errorOf(openIt);
    expect(error.code).to.equal('data_loss');
    expect(error.message).to.include(path).and.include('backup');
  });

  it('says so when pages of the file are damaged', async () => {
    const store = await openIt();
    await storeFile(
      store.files,
      Array.from({ length: 300 }, () => [nodeId(1), nodeId(2)]),
    );
    await store.close();
    const file = await open(path, 'r+');
    const { size } = await file.stat();
    // Everything behind the first half: inner pages of the big tables among it.
    await file.write(Buffer.alloc(size / 2, 0xa5), 0, Math.floor(size / 2), Math.floor(size / 2));
    await file.close();
    const error = await errorOf(openIt);
    expect(error.code).to.equal('data_loss');
    expect(error.message).to.include(path).and.include('damaged');
  });

  it('says so when another program has locked it, and works on when that is gone', async () => {
    const store = await openIt();
    const other = new Sqlite(path);
    other.exec('BEGIN IMMEDIATE');
    const error = await errorOf(() => store.nodes.reserve(5, (slot) => nodeRecord('a', slot)));
    expect(error.code).to.equal('unavailable');
    expect(error.message).to.include('locked');
    other.exec('ROLLBACK');
    other.close();
    expect((await store.nodes.reserve(5, (slot) => nodeRecord('a', slot))).hosting.slot).to.equal(0);
  });

  it('takes over the nodes that an earlier version has written', async () => {
    writeFixture(path);
    const nodes = await (await openIt()).nodes.list();
    const hosting = { kind: 'contained', bootId: 'df9a4cc6-e341-41c1-8a85-8ca7ab450cd1' };
    expect(nodes.map((node) => node.hosting)).to.deep.equal([
      {
        ...hosting,
        slot: 0,
        loopDevice: 243_968,
        process: { pid: 30_002, startTicks: '2919246' },
        volumeUuid: 'e66c2475-db75-4733-8274-f1f703ad0d31',
      },
      { ...hosting, slot: 1, loopDevice: 243_969, volumeUuid: '90a20817-be50-4ab2-96fe-a1c15de331e6' },
    ]);
    expect(nodes.map(({ name, status, ip, labels }) => ({ name, status, ip, labels }))).to.deep.equal([
      { name: 'one', status: 'Running', ip: '10.67.193.2', labels: {} },
      { name: 'two', status: 'Stopped', ip: '10.67.193.3', labels: { zone: 'a' } },
    ]);
  });

  it('refuses a database that a newer version has written', async () => {
    await (await openIt()).close();
    const raw = new Sqlite(path);
    raw.exec("INSERT INTO migrations (timestamp, name) VALUES (9999999999999, 'Later9999999999999')");
    raw.close();
    const error = await errorOf(openIt);
    expect(error.code).to.equal('failed_precondition');
    expect(error.message).to.include('newer').and.include('Later9999999999999');
  });

  it('names the folder that is missing', async () => {
    path = join(folder, 'absent', 'nexus.db');
    const error = await errorOf(openIt);
    expect(error.code).to.equal('not_found');
    expect(error.message).to.include('open the database').and.include(path);
  });
});

interface PlanStep {
  readonly id: number;
  readonly parent: number;
  readonly detail: string;
}

/** Lines of SQLite's plan: whole tables that are read once for each row of something else. */
function repeatedScans(database: Sqlite.Database, sql: string): string[] {
  const steps = database.prepare<[], PlanStep>(`EXPLAIN QUERY PLAN ${sql}`).all();
  const isRepeated = ({ id, parent }: PlanStep): boolean => {
    const isInner = steps.some((step) => step.parent === parent && step.id < id && /^(SCAN|SEARCH) /.test(step.detail));
    const above = steps.find((step) => step.id === parent);
    if (isInner || above === undefined) return isInner;
    // A subquery that depends on nothing outside runs once.
    return (
      !/^(SCALAR|LIST) SUBQUERY/.test(above.detail) && (above.detail.startsWith('CORRELATED') || isRepeated(above))
    );
  };
  return steps.filter((step) => /^SCAN (?!CONSTANT)/.test(step.detail) && isRepeated(step)).map(({ detail }) => detail);
}
