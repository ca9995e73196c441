/**
 * The controller dies by SIGKILL at every step of a node's creation and removal. After the restart the node is whole
 * or gone, and nothing is left over.
 */
import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { existsSync } from 'node:fs';
import { PROJECT, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

/** Every failpoint that the sources have, so that a new one is tested without being listed. */
function failpointsIn(...files: string[]): string[] {
  return files.flatMap((file) => {
    const source = readFileSync(join(PROJECT, 'controller', 'node', file), 'utf8');
    return [...source.matchAll(/failpoint\('([^']+)'\)/g)].map((match) => match[1] ?? '');
  });
}

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
      ...folder(join(runDir, 'runc.state')),
      ...folder(runDir).filter((name) => !name.includes('.')),
      ...['memory', 'pids', 'cpu', 'systemd', 'unified', '.']
        .flatMap((hierarchy) => folder(join('/sys/fs/cgroup', hierarchy, `nexus-${instance}`)))
        .filter((name) => /^[0-9a-f]{12}$/.test(name)),
    ];
  };

  const dieDuring = async (failpoint: string, ...args: string[]): Promise<void> => {
    await cluster().killController('SIGTERM');
    await cluster().startController({ NEXUS_FAILPOINT: failpoint });
    const result = await cluster().run(...args);
    await cluster().controllerEnd();
    expect(result.code, `${failpoint} was not reached: ${result.stdout}${result.stderr}`).to.equal(5);
    await cluster().startController();
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

  for (const failpoint of failpointsIn('create.ts', 'bring-up.ts')) {
    it(`during a creation at ${failpoint}`, async () => {
      await dieDuring(failpoint, 'node', 'create', 'victim', ...CREATE);
      await expectWholeOrGone();
    });
  }

  for (const failpoint of [...failpointsIn('take-down.ts'), 'remove/marked']) {
    it(`during a removal at ${failpoint}`, async () => {
      await cluster().ok('node', 'create', 'victim', ...CREATE);
      await dieDuring(failpoint, 'node', 'rm', 'victim');
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
});
