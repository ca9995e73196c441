/** A cluster whose state lies in PostgreSQL: the same nodes and files, over a killed controller and a restarted server. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually, TestCluster, type NodeJson } from '../support/cluster.js';
import { randomPauses, Writers } from '../support/promises.js';
import { testPostgres, whyNoPostgres, type TestPostgres } from '../support/postgres.js';
import { skipWithout, whySkipped } from '../support/system.js';

/** Some of them while a connection is being made or handed out. */
const CUTS = 30;

describe('a cluster on PostgreSQL', function () {
  this.timeout(300_000);
  let postgres: TestPostgres;
  let cluster: TestCluster | undefined;
  const on = (): TestCluster => {
    if (cluster === undefined) throw new Error('the cluster is not up');
    return cluster;
  };
  const schemas = async (): Promise<unknown[]> =>
    (await postgres.query('SELECT nspname AS "name" FROM pg_namespace')).map((row) => row['name']);

  before(async function () {
    skipWithout(this, whySkipped() ?? whyNoPostgres());
    postgres = await testPostgres();
    cluster = await TestCluster.start({
      env: { NEXUS_DATABASE_URL: postgres.url(), NEXUS_DATABASE_PASSWORD_FILE: postgres.passwordFile },
    });
  });
  after(async () => {
    if (cluster === undefined) return;
    const schema = `nexus_${cluster.instance}`;
    expect(await schemas()).to.include(schema);
    expect(await cluster.dispose(), 'left on the host').to.deep.equal([]);
    expect(await schemas()).to.not.include(schema);
  });

  it('keeps nodes and files while its controller is killed and the server crashes', async () => {
    const content = randomBytes(25 * 1024 * 1024 + 3);
    const source = join(on().folder, 'source.bin');
    writeFileSync(source, content);
    await on().ok('node', 'create', 'web-1', '--mem', '64', '--storage', '128M');
    const file = await on().json<{ id: string }>('file', 'upload', source);
    await on().killController('SIGKILL');
    await on().startController();
    const nodes = await on().json<NodeJson[]>('node', 'ls');
    expect(nodes.map((node) => node.status)).to.deep.equal(['Running']);
    await on().ok('file', 'download', file.id, join(on().folder, 'first.bin'));
    expect(readFileSync(join(on().folder, 'first.bin')).equals(content)).to.equal(true);

    await postgres.stopServer('SIGQUIT');
    expect((await on().run('file', 'ls')).code).to.equal(5);
    await postgres.startServer();
    await eventually(
      () => on().run('file', 'upload', source),
      (result) => result.code === 0,
    );
    expect(await on().json('file', 'ls')).to.have.length(2);
    expect(existsSync(join(on().stateDir, 'nexus.db'))).to.equal(false);
  });

  it('keeps what it acknowledged, and nothing else, while its connections are cut at random moments', async () => {
    const pid = on().controllerPid;
    const between = randomPauses();
    await using writers = new Writers(on(), 2);
    await writers.start();
    for (let time = 0; time < CUTS; time += 1) {
      await between(20, 400);
      await postgres.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'nexus %_${on().instance} %'`,
      );
    }
    await between(500, 1000);
    await writers.stop();
    expect(writers.folders.refused.size, 'writes that were refused').to.be.above(0);
    await writers.check(['web-1']);
    expect(on().controllerPid).to.equal(pid);
    await on().killController('SIGKILL');
    await on().startController();
    await writers.check(['web-1']);
  });

  it('is not started without its database, nor with another state folder', async () => {
    await on().killController();
    const without = await on().tryController({ NEXUS_DATABASE_URL: '' });
    expect(without.code).to.equal(1);
    expect(without.output)
      .to.include('are in the database postgresql://')
      .and.include('SQLite in the state folder was asked for');
    expect(without.output).not.to.include(readPassword());
    expect(existsSync(join(on().stateDir, 'nexus.db'))).to.equal(false);
    const elsewhere = await on().tryController({ NEXUS_STATE_DIR: join(on().folder, 'elsewhere') });
    expect(elsewhere.code).to.equal(1);
    expect(elsewhere.output).to.include('have their volumes in another state folder');
    await on().startController();
    expect(await on().json<NodeJson[]>('node', 'ls')).to.have.length.above(0);
  });

  it('refuses another controller on the same schema from another state folder', async () => {
    const other = new TestCluster({
      env: {
        NEXUS_DATABASE_URL: postgres.url(),
        NEXUS_DATABASE_PASSWORD_FILE: postgres.passwordFile,
        NEXUS_INSTANCE: on().instance,
        NEXUS_STATE_DIR: join(on().folder, 'elsewhere'),
      },
    });
    const { code, output } = await other.tryController();
    rmSync(other.folder, { recursive: true });
    expect(code).to.equal(1);
    expect(output).to.include('another controller uses the schema').and.not.include(readPassword());
  });

  const readPassword = (): string => readFileSync(postgres.passwordFile, 'utf8').trim();
});
