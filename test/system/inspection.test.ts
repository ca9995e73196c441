/** One agent looked at by hand, in every way that docs/operations/inspect-an-agent.md tells, and the reflection of the controller. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { MIB } from '../../shared/limits.js';
import { PROJECT, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

const execute = promisify(execFile);
/** A program of the agent's runtime: nobody in the node can replace it. */
const BUSYBOX = '/.nexus/rt/bin/busybox';

interface ChunkJson {
  readonly chunk_id: string;
  readonly size: number;
  readonly file_id: string;
  readonly index: number;
}
interface InspectionJson {
  readonly node_id: string;
  readonly version: string;
  readonly nats_connected: boolean;
  readonly chunks: { readonly count: number; readonly bytes: number };
  readonly commands: readonly { readonly command: string; readonly result: string }[];
}

describeWithCluster('one agent looked at by hand', {}, (cluster) => {
  const bytes = 12 * MIB;
  let node: NodeJson;
  let file: { readonly id: string };
  const output = async (program: string, ...args: string[]): Promise<string> => (await execute(program, args)).stdout;
  const curl = (...args: string[]): Promise<string> => output('curl', '--silent', '--max-time', '10', ...args);

  before(async () => {
    node = await cluster().json<NodeJson>('node', 'create', 'one', '--storage', '64M');
    const source = join(cluster().folder, 'source');
    writeFileSync(source, randomBytes(bytes));
    file = await cluster().json<{ id: string }>('file', 'upload', source);
  });

  it('tells its version, what it stores and what it was told', async () => {
    const found = await cluster().json<InspectionJson>('agent', 'inspect', 'one');
    expect(found.node_id).to.equal(node.id);
    expect(`nexus ${found.version}\n`).to.equal(await cluster().ok('--version'));
    expect(found.chunks).to.deep.include({ count: 2, bytes });
    const { commands } = await cluster().json<InspectionJson>('agent', 'inspect', 'one');
    expect(commands.at(-1)).to.include({ command: 'inspect', result: 'ok' });
    expect(await cluster().ok('agent', 'inspect', 'one')).to.match(/chunks: +2, 12 MB/);
  });

  it('lists the chunks that lie on its volume, page by page', async () => {
    const all = await cluster().json<ChunkJson[]>('agent', 'ls-chunks', 'one');
    expect(all.map(({ size }) => size).reduce((sum, size) => sum + size, 0)).to.equal(bytes);
    expect(all.map(({ file_id: id }) => id)).to.deep.equal([file.id, file.id]);
    expect(all.map(({ index }) => index).sort()).to.deep.equal([0, 1]);
    const first = await cluster().run('agent', 'ls-chunks', 'one', '--limit', '1', '-o', 'json');
    expect(JSON.parse(first.stdout)).to.deep.equal(all.slice(0, 1));
    expect(first.stderr).to.include(`--after ${all[0]?.chunk_id ?? ''}`);
    const second = await cluster().run('agent', 'ls-chunks', 'one', '--after', all[0]?.chunk_id ?? '', '-o', 'json');
    expect(JSON.parse(second.stdout)).to.deep.equal(all.slice(1));
    expect(second.stderr).to.equal('');
  });

  it('answers curl over TCP and over its Unix socket alike, and gives no chunk away', async () => {
    const socket = join(cluster().runDir, node.id, 'agent.sock');
    const ways = [
      (path: string) => curl(`http://${node.ip}:7400${path}`),
      (path: string) => curl('--unix-socket', socket, `http://agent${path}`),
    ];
    for (const get of ways) {
      expect(JSON.parse(await get('/healthz'))).to.deep.equal({ status: 'ok' });
      expect((JSON.parse(await get('/inspect')) as InspectionJson).chunks.count).to.equal(2);
      const { chunks } = JSON.parse(await get('/chunks?limit=1')) as { chunks: ChunkJson[] };
      expect(chunks).to.have.length(1);
      expect(await get('/metrics')).to.match(/^nexus_agent_chunks\{node="one"\} 2$/m);
      expect(await get('/')).to.match(/available: \/healthz, \/inspect/);
      const chunk = JSON.parse(await get(`/chunks/${chunks[0]?.chunk_id ?? ''}`)) as { code: string };
      expect(chunk.code).to.be.oneOf(['unauthenticated', 'not_found']);
    }
  });

  it('is the one that answers at its socket, wherever the node leads from its own folders', async () => {
    const { socket } = cluster();
    const lead = `cd /.nexus/run && rm -f agent.sock; ln -s ${socket} agent.sock; ls -l /.nexus/run`;
    expect(await cluster().ok('node', 'exec', 'one', '--', 'sh', '-c', lead)).to.contain(`-> ${socket}`);
    const path = join(cluster().runDir, node.id, 'agent.sock');
    expect(lstatSync(path).isSocket()).to.equal(true);
    expect(JSON.parse(await curl('--unix-socket', path, 'http://agent/healthz'))).to.deep.equal({ status: 'ok' });
  });

  it('is refused with a code when the node is down, or is none', async () => {
    await cluster().ok('node', 'create', 'two', '--storage', '64M');
    await cluster().ok('node', 'stop', 'two');
    for (const verb of ['inspect', 'ls-chunks']) {
      const { code, stderr } = await cluster().run('agent', verb, 'two');
      expect(code).to.equal(4);
      expect(stderr).to.include('node two is Stopped and has no agent; start it with: nexus node start two');
    }
    expect(await cluster().run('agent', 'ls-chunks', 'none')).to.include({ code: 3 });
  });

  it('is named, and what to do, when it does not answer', async () => {
    const { pid } = await cluster().json<NodeJson>('node', 'inspect', 'one');
    // Of the container's init, whose only child the agent is.
    const agent = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
    process.kill(agent, 'SIGSTOP');
    try {
      const { code, stderr } = await cluster().run('agent', 'inspect', 'one');
      expect(code).to.equal(5);
      expect(stderr)
        .to.include('the agent of one did not answer within 5000 ms')
        .and.include('see nexus node logs one; if it stays silent: nexus node restart one')
        .and.not.include(node.id);
    } finally {
      process.kill(agent, 'SIGCONT');
    }
  });

  it('has namespaces that nsenter enters and a container that runc knows', async () => {
    const { pid } = await cluster().json<NodeJson>('node', 'inspect', 'one');
    expect(await output('nsenter', '--target', String(pid), '--net', 'ip', '-brief', 'address')).to.include(node.ip);
    expect(await output('nsenter', '--target', String(pid), '--mount', BUSYBOX, 'ls', '/data')).to.include('chunks');
    const state = ['--root', join(cluster().runDir, 'runc.state')];
    expect(await output('runc', ...state, 'list')).to.match(new RegExp(`${node.id} +${pid} +running`));
    expect(await output('runc', ...state, 'ps', node.id)).to.include('agent.cjs');
  });

  it('shows a copy whose record is damaged among those that are whole', async () => {
    const [bad, good] = await cluster().json<ChunkJson[]>('agent', 'ls-chunks', 'one');
    const { pid } = await cluster().json<NodeJson>('node', 'inspect', 'one');
    const data = `/proc/${pid}/root/data`;
    const record = readdirSync(data, { recursive: true })
      .map(String)
      .find((path) => path.includes(`${bad?.chunk_id ?? '-'}.`));
    writeFileSync(join(data, record ?? ''), 'nonsense');
    const [head = '', first = '', second = ''] = (await cluster().ok('agent', 'ls-chunks', 'one')).split('\n');
    expect(head).to.match(/^CHUNK +SIZE +DAMAGE +MD5/);
    expect(first).to.match(new RegExp(`^${bad?.chunk_id ?? '-'} .*its sidecar is damaged`));
    expect(second).to.contain(good?.chunk_id).and.not.contain('damaged');
  });
});

describeWithCluster('the reflection of the controller', { runtime: 'process' }, (cluster) => {
  const buf = async (...args: string[]): Promise<string> => {
    const connection = ['--protocol', 'grpc', '--http2-prior-knowledge', '--unix-socket', cluster().socket];
    const { stdout } = await execute(join(PROJECT, 'node_modules', '.bin', 'buf'), ['curl', ...connection, ...args]);
    return stdout;
  };

  it('lists services and methods, and is enough to call them', async () => {
    expect((await buf('--list-services', 'http://localhost')).split('\n')).to.include('nexus.v1.NodeService');
    expect(await buf('--list-methods', 'http://localhost')).to.include('nexus.v1.NodeService/InspectAgent');
    const status = JSON.parse(await buf('http://localhost/nexus.v1.ClusterService/GetStatus')) as { instance: string };
    expect(status.instance).to.equal(cluster().instance);
  });
});
