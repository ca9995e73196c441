/**
 * The controller dies by SIGKILL at every step of a node's creation and removal. After the restart the node is whole
 * or gone, and nothing is left over.
 */
import { expect } from 'chai';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { existsSync } from 'node:fs';
import { START_STEPS } from '../../controller/node/life/bring-up.js';
import { CREATE_STEPS, RESERVE_STEPS } from '../../controller/node/life/create.js';
import { namesOf, type Steps } from '../../controller/node/life/steps.js';
import { DISMANTLE_STEPS, REMOVE_STEPS } from '../../controller/node/life/take-down.js';
import { PREPARE_STEPS } from '../../controller/node/spare/prepare.js';
import { TAKE_STEPS } from '../../controller/node/spare/take.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

/** Every step is a failpoint, so that a new one is tested without being listed here. */
const pointsOf = <State>(list: string, steps: Steps<State>): string[] =>
  namesOf(steps).map((name) => `${list}/${name}`);

const CREATE = ['--mem', '64', '--storage', '64M'];

describeWithCluster('a controller that dies', {}, (cluster) => {
  const list = (): Promise<NodeJson[]> => cluster().json<NodeJson[]>('node', 'ls');

  const hostObjects = (): string[] => {
    const { instance, stateDir, runDir } = cluster();
    const folder = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);
    return [
      ...readdirSync('/sys/class/net').filter((name) => name.startsWith(`nx-${instance}-`)),
      ...folder(join(stateDir, 'volumes')),
      ...folder(join(stateDir, 'logs')),
      ...folder(join(stateDir, 'spares')),
      ...folder(join(runDir, 'runc.state')),
      ...folder(runDir).filter((name) => !name.includes('.')),
      ...['memory', 'pids', 'cpu', 'systemd', 'unified', '.']
        .flatMap((hierarchy) => folder(join('/sys/fs/cgroup', hierarchy, `nexus-${instance}`)))
        .filter((name) => /^[0-9a-f]{12}$/.test(name)),
    ];
  };

  /** The failpoint of the controller that runs. */
  let armed: string | undefined;

  /** `next` is armed in the controller that recovers, whose recovery does not come by there. */
  const dieDuring = async (failpoint: string, next: string | undefined, ...args: string[]): Promise<void> => {
    if (armed !== failpoint) {
      await cluster().killController('SIGTERM');
      await cluster().startController({ NEXUS_FAILPOINT: failpoint });
    }
    const result = await cluster().run(...args);
    await cluster().controllerEnd();
    expect(result.code, `${failpoint} was not reached: ${result.stdout}${result.stderr}`).to.equal(5);
    await cluster().startController(next === undefined ? {} : { NEXUS_FAILPOINT: next });
    armed = next;
  };

  const expectWholeOrGone = async (): Promise<void> => {
    const nodes = await list();
    if (nodes.length === 0) {
      expect(hostObjects()).to.deep.equal([]);
      return;
    }
    expect(nodes.map((node) => node.status)).to.deep.equal(['Running']);
    expect(await cluster().ok('node', 'exec', 'victim', '--', 'echo', 'whole')).to.equal('whole\n');
    await cluster().ok('node', 'rm', 'victim');
    expect(hostObjects()).to.deep.equal([]);
  };

  const creation = [
    ...pointsOf('create', RESERVE_STEPS),
    ...pointsOf('create', CREATE_STEPS),
    ...pointsOf('start', START_STEPS),
  ];
  for (const [at, failpoint] of creation.entries()) {
    it(`during a creation at ${failpoint}`, async () => {
      await dieDuring(failpoint, creation[at + 1], 'node', 'create', 'victim', ...CREATE);
      await expectWholeOrGone();
    });
  }

  for (const failpoint of pointsOf('prepare', PREPARE_STEPS)) {
    it(`while it makes a spare, at ${failpoint}`, async () => {
      await cluster().killController('SIGTERM');
      armed = undefined;
      await cluster().startController({ NEXUS_FAILPOINT: failpoint, NEXUS_SPARE_NODES: '1' });
      await cluster().controllerEnd();
      await cluster().startController();
      expect(await list()).to.deep.equal([]);
      expect(hostObjects()).to.deep.equal([]);
    });
  }

  for (const failpoint of pointsOf('take', TAKE_STEPS)) {
    it(`while it makes a node of a spare, at ${failpoint}`, async () => {
      await cluster().killController('SIGTERM');
      await cluster().startController({ NEXUS_FAILPOINT: failpoint, NEXUS_SPARE_NODES: '1' });
      await eventually(
        () => cluster().json<{ spares: { ready: number } }>('status'),
        ({ spares }) => spares.ready === 1,
      );
      expect((await cluster().run('node', 'create', 'victim')).code).to.equal(5);
      await cluster().controllerEnd();
      await cluster().startController();
      await expectWholeOrGone();
    });
  }

  for (const failpoint of [
    'remove/marked',
    ...pointsOf('dismantle', DISMANTLE_STEPS),
    ...pointsOf('remove', REMOVE_STEPS),
  ]) {
    it(`during a removal at ${failpoint}`, async () => {
      await cluster().ok('node', 'create', 'victim', ...CREATE);
      await dieDuring(failpoint, undefined, 'node', 'rm', 'victim');
      expect(await list()).to.deep.equal([]);
      expect(hostObjects()).to.deep.equal([]);
    });
  }

  it('finds a node whose container ended meanwhile, and starts it again with its data', async () => {
    await cluster().ok('node', 'create', 'victim', ...CREATE);
    await cluster().ok('node', 'exec', 'victim', '--', 'sh', '-c', 'echo kept > /root/note; sync');
    const [node] = await list();
    await cluster().killController();
    process.kill(node?.pid ?? 0, 'SIGKILL');
    await cluster().startController();
    expect((await list())[0]?.status).to.equal('Failed');
    await cluster().ok('node', 'start', 'victim');
    expect(await cluster().ok('node', 'exec', 'victim', '--', 'cat', '/root/note')).to.equal('kept\n');
    await cluster().ok('node', 'rm', 'victim');
  });

  it('is followed by one that answers what is true while an agent is frozen, whatever is asked of it from the start', async () => {
    for (const name of ['still', 'frozen']) await cluster().ok('node', 'create', name, ...CREATE);
    const frozen = (await list()).find(({ name }) => name === 'frozen');
    const agent = childOf(frozen?.pid ?? 0);
    process.kill(agent, 'SIGSTOP');
    const answers = new Map<string, number>();
    try {
      await cluster().killController();
      const next = { isUp: false };
      const starting = cluster()
        .startController()
        .finally(() => (next.isUp = true));
      // From before it listens until it has been up for a while.
      for (let index = 0; !next.isUp || index < 6; index += 1) {
        const name = `upload-${index}`;
        const { code } = await cluster().runWith({ input: `content ${index}` }, 'fs', 'upload', '-', `/${name}`);
        answers.set(name, code);
      }
      await starting;
    } finally {
      process.kill(agent, 'SIGCONT');
    }
    const stored = (await cluster().json<{ name: string }[]>('fs', 'ls', '/')).map(({ name }) => name);
    const acknowledged = [...answers].filter(([, code]) => code === 0).map(([name]) => name);
    expect(stored.sort(), JSON.stringify([...answers])).to.deep.equal(acknowledged.sort());
    expect(acknowledged, 'the other node took them').not.to.deep.equal([]);
    for (const name of acknowledged)
      expect(await cluster().ok('fs', 'download', `/${name}`, '-')).to.equal(`content ${name.slice('upload-'.length)}`);
  });

  it('by SIGTERM, with a command open in a node, is waited for by the next one', async () => {
    const ended = cluster().run('node', 'exec', 'still', '--', 'sh', '-c', 'echo up >/root/open; exec sleep 600');
    await eventually(
      async () => (await cluster().run('node', 'exec', 'still', '--', 'cat', '/root/open')).code,
      (code) => code === 0,
    );
    process.kill(cluster().controllerPid, 'SIGTERM');
    await cluster().startController();
    expect((await ended).code, 'the command says that it was cut off').not.to.equal(0);
    expect(await cluster().ok('node', 'exec', 'still', '--', 'echo', 'well')).to.equal('well\n');
    for (const name of ['still', 'frozen']) await cluster().ok('node', 'rm', name, '--force');
  });
});

/** The agent below a node's init. */
const childOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);

describeWithCluster('a controller that dies while small files are stored', {}, (cluster) => {
  for (const failpoint of ['upload/pack-opened', 'upload/pack-receipts-checked', 'upload/pack-published']) {
    it(`at ${failpoint}: those that it acknowledged are there, whole, and nothing of the others is`, async () => {
      await cluster().killController('SIGTERM');
      await cluster().startController();
      for (const name of ['a', 'b']) await cluster().run('node', 'create', name, ...CREATE);
      const source = join(cluster().folder, failpoint.replace('/', '-'));
      mkdirSync(source);
      for (let at = 0; at < 40; at += 1) writeFileSync(join(source, `f${at}`), `content ${at}`);
      await cluster().killController('SIGTERM');
      // The sender waits for half a minute for the next one, which comes at once.
      await cluster().startController({ NEXUS_FAILPOINT: failpoint });
      const sending = cluster().run('fs', 'upload', source, `/${failpoint.replace('/', '-')}`, '-r', '2');
      await cluster().controllerEnd();
      await cluster().startController();
      const sent = await sending;
      const path = `/${failpoint.replace('/', '-')}`;
      const stored = await cluster().json<{ name: string }[]>('fs', 'ls', path);
      // One transaction: all of the batch, or none.
      expect([0, 40]).to.include(stored.length);
      if (sent.code === 0) expect(stored).to.have.length(40);
      const back = join(cluster().folder, `back-${stored.length}-${path.slice(1)}`);
      await cluster().ok('fs', 'download', path, back);
      for (const { name } of stored)
        expect(readFileSync(join(back, name))).to.deep.equal(readFileSync(join(source, name)));
      if (stored.length < 40) await cluster().ok('fs', 'upload', source, '/', '--overwrite');
      const quota = await cluster().json<{ used: number; reserved: number; recounted_used: number }>(
        'fs',
        'quota',
        '--recount',
      );
      expect(quota.recounted_used).to.equal(quota.used);
      await cluster().ok('fs', 'rm', '-r', path);
      // Abandoned uploads expire, and agents confirm all deletions.
      await eventually(
        () => cluster().json<{ storage: { pending_deletes: number; chunks: number } }>('status'),
        ({ storage }) => storage.pending_deletes === 0 && storage.chunks === 0,
        120_000,
      );
    });
  }
});
