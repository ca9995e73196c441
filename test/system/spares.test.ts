/** Spares on a real host: nodes that are started before anybody asks for them. */
import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface StatusJson {
  readonly nodes: { readonly total: number };
  readonly spares: { readonly ready: number; readonly wanted: number };
}

describeWithCluster('spares', { env: { NEXUS_SPARE_NODES: '2' } }, (cluster) => {
  const status = (): Promise<StatusJson> => cluster().json<StatusJson>('status');
  const areReady = (): Promise<StatusJson> => eventually(status, ({ spares }) => spares.ready === 2);
  const startOf = async (name: string): Promise<string> => {
    const events = await cluster().json<{ type: string; subject: string; message: string }[]>('events');
    return events.findLast(({ type, subject }) => type === 'node.started' && subject === name)?.message ?? '';
  };
  const containers = (): string[] => readdirSync(join(cluster().runDir, 'runc.state')).sort();
  /** Pid of the first process of a container. */
  const firstOf = (id: string): number => {
    const state = readFileSync(join(cluster().runDir, 'runc.state', id, 'state.json'), 'utf8');
    return (JSON.parse(state) as { init_process_pid: number }).init_process_pid;
  };
  const inNode = (name: string, ...command: string[]): Promise<string> =>
    cluster().ok('node', 'exec', name, '--', ...command);

  it('are told by the status, and are no nodes', async () => {
    const { nodes, spares } = await areReady();
    expect(spares).to.deep.equal({ ready: 2, wanted: 2 });
    expect(nodes.total).to.equal(0);
    expect(await cluster().json('node', 'ls')).to.deep.equal([]);
    expect(await cluster().ok('status')).to.match(/spares: +2 of 2 ready/);
  });

  it('have no identity: no configuration, no credentials, no connection to the bus', () => {
    for (const id of containers()) {
      const config = readdirSync(join(cluster().runDir, id, 'config'));
      expect(config.sort()).to.deep.equal(['etc', 'places.json']);
      const sockets = readFileSync(`/proc/${firstOf(id)}/net/tcp`, 'utf8')
        .trim()
        .split('\n')
        .slice(1);
      expect(sockets, 'of its network namespace').to.deep.equal([]);
    }
  });

  it('become a node with all that one has', async () => {
    const before = containers();
    await cluster().ok('node', 'create', 'web-1', '--cpu', '300', '--label', 'zone=a');
    expect(await startOf('web-1'))
      .to.match(/assign/)
      .and.not.to.match(/create-container/);
    const node = await cluster().json<NodeJson & { id: string; ip: string }>('node', 'inspect', 'web-1');
    expect(before).to.include(node.id);
    expect(await inNode('web-1', 'hostname')).to.equal('web-1\n');
    expect(await inNode('web-1', 'cat', '/etc/hostname')).to.equal('web-1\n');
    expect(await inNode('web-1', 'cat', '/etc/hosts')).to.contain(`${node.ip} web-1\n`);
    await cluster().runWith({ input: 'content of a chunk' }, 'fs', 'upload', '-', '/note');
    expect(await cluster().ok('fs', 'download', '/note', '-')).to.equal('content of a chunk');
    expect(await cluster().ok('agent', 'inspect', 'web-1')).to.contain('web-1');
  });

  const filesOfAgent = (): Promise<string> => inNode('web-1', 'sh', '-c', 'ls /.nexus/run /.nexus/config');
  let ofSpare: string;

  it('leave no mark of their wait in the node that they became', async () => {
    ofSpare = await filesOfAgent();
    expect(ofSpare).to.match(/^\/\.nexus\/config:\nagent\.creds\nagent\.json\netc\nplaces\.json\n\n\/\.nexus\/run:\n/);
    expect(ofSpare).not.to.match(/^waiting$/m);
  });

  it('are as other nodes when they are started again', async () => {
    await inNode('web-1', 'sh', '-c', 'echo kept >/root/note');
    await cluster().ok('node', 'restart', 'web-1');
    expect(await startOf('web-1')).to.match(/create-container/);
    expect(await filesOfAgent()).to.equal(ofSpare);
    expect(await inNode('web-1', 'cat', '/root/note')).to.equal('kept\n');
    expect(await cluster().ok('fs', 'download', '/note', '-')).to.equal('content of a chunk');
  });

  it('are made again, and of the size that was asked for last', async () => {
    await areReady();
    await cluster().ok('node', 'create', 'small', '--mem', '64', '--storage', '64M');
    expect(await startOf('small')).to.match(/create-container/);
    await eventually(
      async () => {
        await areReady();
        return readdirSync(join(cluster().stateDir, 'spares')).map(
          (name) => JSON.parse(readFileSync(join(cluster().stateDir, 'spares', name), 'utf8')) as { memoryMb: number },
        );
      },
      (notes) => notes.length === 2 && notes.every(({ memoryMb }) => memoryMb === 64),
    );
    await cluster().ok('node', 'create', 'small-2', '--mem', '64', '--storage', '64M');
    expect(await startOf('small-2')).to.match(/assign/);
  });

  it('whose agents have ended are given to nobody', async () => {
    await areReady();
    const nodes = new Set((await cluster().json<{ id: string }[]>('node', 'ls')).map(({ id }) => id));
    for (const id of containers().filter((name) => !nodes.has(name))) {
      const pid = firstOf(id);
      process.kill(pid, 'SIGKILL');
      await eventually(
        () => existsSync(`/proc/${pid}`),
        (isThere) => !isThere,
      );
    }
    await cluster().ok('node', 'create', 'small-3', '--mem', '64', '--storage', '64M');
    expect((await cluster().json<NodeJson>('node', 'inspect', 'small-3')).status).to.equal('Running');
    await areReady();
  });

  it('whose agents are stopped cost a creation a few seconds, not the node', async () => {
    await areReady();
    const nodes = new Set((await cluster().json<{ id: string }[]>('node', 'ls')).map(({ id }) => id));
    const stopped = containers().filter((name) => !nodes.has(name));
    for (const id of stopped) process.kill(agentOf(firstOf(id)), 'SIGSTOP');
    await cluster().ok('node', 'create', 'small-4', '--mem', '64', '--storage', '64M');
    const node = await cluster().json<NodeJson & { id: string }>('node', 'inspect', 'small-4');
    expect(node.status).to.equal('Running');
    expect(stopped).to.include(node.id);
    expect(await startOf('small-4')).to.match(/create-container/);
    expect(await inNode('small-4', 'hostname')).to.equal('small-4\n');
    await areReady();
  });

  it('of several creations at once are each given once', async () => {
    await areReady();
    const names = ['many-1', 'many-2', 'many-3', 'many-4'];
    await Promise.all(names.map((name) => cluster().ok('node', 'create', name, '--mem', '64', '--storage', '64M')));
    const nodes = await cluster().json<(NodeJson & { id: string; ip: string })[]>('node', 'ls');
    expect(new Set(nodes.map(({ id }) => id)).size).to.equal(nodes.length);
    expect(new Set(nodes.map(({ ip }) => ip)).size).to.equal(nodes.length);
    expect(new Set(nodes.map(({ status: state }) => state))).to.deep.equal(new Set(['Running']));
  });

  it('end with the controller, and with a killed one as soon as the next is up', async () => {
    await areReady();
    const ids = async (): Promise<string[]> =>
      (await cluster().json<{ id: string }[]>('node', 'ls')).map(({ id }) => id).sort();
    const nodes = await ids();
    await cluster().killController('SIGTERM');
    expect(containers()).to.deep.equal(nodes);
    await cluster().startController();
    await areReady();
    await cluster().killController('SIGKILL');
    expect(containers()).to.have.length(nodes.length + 2);
    await cluster().startController({ NEXUS_SPARE_NODES: '0' });
    expect(containers()).to.deep.equal(nodes);
    expect(await ids()).to.deep.equal(nodes);
  });
});

/** The agent below a node's init. */
const agentOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
