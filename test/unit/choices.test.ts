/** What was chosen when nodes were made outlives the flag that said it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { assertSameDatabase, rememberChoices } from '../../controller/host/choices.js';
import { loadSettings, type Settings, type SettingSources } from '../../shared/config/settings.js';
import { createLogger } from '../../shared/log.js';
import { codeOf, errorOf } from '../support/codes.js';

describe('the choices of a cluster', () => {
  let stateDir: string;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'nexus-choices-'));
  });
  afterEach(() => {
    rmSync(stateDir, { recursive: true });
  });
  const load = (runtime?: string): Settings => loadSettings({ flags: { stateDir, runtime }, env: {}, uid: 1000 });
  const loadWith = (flags: NonNullable<SettingSources['flags']>): Settings =>
    loadSettings({ flags: { stateDir, runtime: 'runc', ...flags }, env: {}, uid: 1000 });
  const remember = (settings: Settings, hasNodes: boolean, running = 0): Promise<void> =>
    rememberChoices(settings, { all: hasNodes ? 2 : 0, running }, createLogger('test', 'silent'));
  const makeVolume = (): void => {
    mkdirSync(join(stateDir, 'volumes'), { recursive: true });
    writeFileSync(join(stateDir, 'volumes', '0123456789ab.img'), '');
  };

  it('are taken where nothing is said: the runtime, and the subnet that follows from it', async () => {
    expect(load()).to.include({ runtime: 'runc' });
    await remember(load('process'), false);
    expect(load()).to.include({ runtime: 'process', subnet: load('process').subnet });
    expect(load('runc')).to.include({ runtime: 'runc' });
  });

  it('can be changed as long as there are no nodes, and are refused with the way out afterwards', async () => {
    await remember(load('runc'), false);
    await remember(load('process'), false);
    const refused = await errorOf(() => remember(load('runc'), true));
    expect(refused).to.include({ code: 'failed_precondition' });
    expect(inCommandWords(refused)).to.match(
      /made with the runtime process, and runc was asked for; .*nexus down --purge/,
    );
    await remember(load(), true);
  });

  it('are none where the file holds something else', () => {
    for (const text of ['', 'null', '{"runtime":"docker"}']) {
      writeFileSync(join(stateDir, 'choices.json'), text);
      expect(load(), text).to.include({ runtime: 'runc' });
    }
  });

  it('refuse another subnet and another instance while there are nodes, naming both values and the way out', async () => {
    await remember(loadWith({ subnet: '10.9.8.0/24' }), false);
    for (const [flags, was, is] of [
      [{}, 'subnet 10.9.8.0/24', '10.0.42.0/24'],
      [{ subnet: '10.9.8.0/25' }, 'subnet 10.9.8.0/24', '10.9.8.0/25'],
      [{ subnet: '10.9.8.0/24', instance: 'other' }, 'instance nexus', 'other'],
    ] as const) {
      const refused = await errorOf(() => remember(loadWith(flags), true));
      expect(refused).to.include({ code: 'failed_precondition' });
      expect(refused.message).to.include(`made with ${was}, and ${is} was asked for; set it to`);
    }
    await remember(loadWith({ subnet: '10.9.8.0/24' }), true);
    await remember(loadWith({}), false);
    await remember(loadWith({}), true);
  });

  it('refuse what running nodes were told, and let the next start of stopped ones take it over', async () => {
    const external = { natsUrl: 'nats://user:secret@a.example:4222' };
    await remember(loadWith(external), true, 2);
    await remember(loadWith({ natsUrl: 'nats://other:secret2@a.example:4222' }), true, 2);
    for (const [change, was, is] of [
      [{}, 'nats-url nats://a.example:4222', '(its own server)'],
      [{ natsUrl: 'nats://u:secret3@b.example:4222' }, 'nats-url nats://a.example:4222', 'nats://b.example:4222'],
      [{ ...external, dataPort: 7500 }, 'data-port 7400', '7500'],
      [{ ...external, runDir: '/run/other' }, `run-dir ${loadWith({}).runDir}`, '/run/other'],
    ] as const) {
      const refused = await errorOf(() => remember(loadWith(change), true, 2));
      expect(refused).to.include({ code: 'failed_precondition' });
      expect(refused.message).to.include(`2 nodes of this cluster run with ${was}, and ${is} was asked for`);
      expect(inCommandWords(refused)).to.include('nexus down').and.not.include('secret');
    }
    expect(readFileSync(join(stateDir, 'choices.json'), 'utf8')).not.to.include('secret');
    await remember(loadWith({ natsPort: 4333 }), true, 0);
    expect(await codeOf(() => remember(loadWith({ natsPort: 4334 }), true, 1))).to.equal('failed_precondition');
    await remember(loadWith({ natsPort: 4333 }), true, 1);
  });

  it('refuse other users while there are volumes, even of nodes that are yet to be imported', async () => {
    await remember(loadWith({}), false);
    await remember(loadWith({ nodeUidBase: 800_000 }), false);
    makeVolume();
    const refused = await errorOf(() => remember(loadWith({}), false));
    expect(refused).to.include({ code: 'failed_precondition' });
    expect(refused.message).to.include('node-uid-base 800000, and 742000 was asked for');
    await remember(loadWith({ nodeUidBase: 800_000 }), true);
  });

  describe('of a database', () => {
    const one = { databaseUrl: 'postgresql://anna@db.example/nexus?sslmode=verify-full' };

    it('refuse another one while there are volumes, before it is opened', async () => {
      await remember(loadWith(one), false);
      assertSameDatabase(loadWith({}));
      makeVolume();
      assertSameDatabase(loadWith(one));
      assertSameDatabase(loadWith({ databaseUrl: 'postgres://bert@db.example:5432/nexus' }));
      for (const [change, is] of [
        [{}, 'SQLite in the state folder'],
        [{ databaseUrl: 'postgresql://anna@db.example/other' }, 'postgresql://db.example:5432/other'],
        [{ databaseUrl: 'postgresql://anna@x/nexus?host=/run/pg' }, 'postgresql:///run/pg:5432/nexus'],
      ] as const) {
        const refused = await errorOf(() => Promise.resolve().then(() => assertSameDatabase(loadWith(change))));
        expect(refused).to.include({ code: 'failed_precondition' });
        expect(refused.message).to.include(
          `in the database postgresql://db.example:5432/nexus, and ${is} was asked for`,
        );
        expect(inCommandWords(refused)).to.include('nexus state export').and.include(join(stateDir, 'choices.json'));
        expect(refused.message).not.to.match(/anna|bert/);
      }
      // As the message says.
      rmSync(join(stateDir, 'choices.json'));
      assertSameDatabase(loadWith({}));
    });

    it('know of a cluster of before that its nodes are in SQLite', async () => {
      writeFileSync(join(stateDir, 'choices.json'), '{"runtime":"runc"}');
      makeVolume();
      assertSameDatabase(loadWith(one));
      writeFileSync(join(stateDir, 'nexus.db'), '');
      expect(await codeOf(() => Promise.resolve().then(() => assertSameDatabase(loadWith(one))))).to.equal(
        'failed_precondition',
      );
      assertSameDatabase(loadWith({}));
    });

    it('refuse nodes whose volumes are in another state folder', async () => {
      const refused = await errorOf(() => remember(loadWith(one), true));
      expect(refused).to.include({ code: 'failed_precondition' });
      expect(refused.message).to.include(stateDir).and.include('postgresql://db.example:5432/nexus');
      mkdirSync(join(stateDir, 'volumes'));
      await remember(loadWith(one), true);
    });
  });
});
