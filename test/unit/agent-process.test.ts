import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fmtCreds, encodeUser } from '@nats-io/jwt';
import { createAccount, createUser } from '@nats-io/nkeys';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { expect } from 'chai';
import { subjectsOf } from '../../shared/bus/subjects.js';
import { generateSigningKey, signClaims } from '../../shared/chunk-token.js';
import type { AgentConfig } from '../../shared/config/agent-config.js';
import { AgentCommand, AgentHeartbeat, AgentReply } from '../../shared/gen/nexus/v1/agent.js';
import { newChunkId, newNodeId, type NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { agentBundle } from '../support/bundles.js';
import { eventually } from '../support/cluster.js';
import { skipWithout } from '../support/system.js';

const controller = generateSigningKey();
const subjects = subjectsOf('test');

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.exitCode;
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<number | null> {
  if (child === undefined) return null;
  child.kill(signal);
  return await ended(child);
}

describe('agent process', function () {
  this.timeout(180_000);
  let program: string;
  let folder: string;
  let config: AgentConfig;
  let nats: ChildProcess | undefined;
  let agent: ChildProcess | undefined;
  let bus: NatsConnection | undefined;
  const started: ChildProcess[] = [];

  const startNats = async (): Promise<void> => {
    nats = spawn('nats-server', ['-a', '127.0.0.1', '-p', new URL(config.natsUrl).port], { stdio: 'ignore' });
    await once(nats, 'spawn');
  };
  const startAgent = (): ChildProcess => {
    const env = { ...process.env, NEXUS_AGENT_CONFIG: join(folder, 'agent.json') };
    const log = openSync(join(folder, 'agent.log'), 'a');
    agent = spawn(process.execPath, [program], { stdio: ['ignore', log, log], env });
    closeSync(log);
    started.push(agent);
    return agent;
  };
  const closingLine = (): Record<string, unknown> =>
    JSON.parse(readFileSync(join(folder, 'agent.log'), 'utf8').trim().split('\n').at(-1) ?? '') as Record<
      string,
      unknown
    >;
  const listening = (port = config.port): Promise<unknown> =>
    eventually(
      () =>
        fetch(`http://127.0.0.1:${port}/metrics`).then(
          ({ ok }) => ok,
          () => false,
        ),
      Boolean,
    );
  const joinBus = async (): Promise<NatsConnection> => {
    bus = await connect({
      servers: config.natsUrl,
      waitOnFirstConnect: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
    });
    return bus;
  };
  const heard = async (on: NatsConnection, subject: string): Promise<Uint8Array> => {
    for await (const message of on.subscribe(subject, { max: 1 })) return message.data;
    throw new Error('the connection was closed');
  };
  const ask = async (on: NatsConnection, command: AgentCommand): Promise<AgentReply> => {
    const request = AgentCommand.encode(command).finish();
    return AgentReply.decode((await on.request(subjects.command(nodeId()), request, { timeout: 5000 })).data);
  };
  const nodeId = (): NodeId => config.nodeId as NodeId;

  beforeEach(async function () {
    const isThere = spawnSync('nats-server', ['--version']).status === 0;
    skipWithout(this, isThere ? undefined : 'there is no nats-server; deploy/bootstrap.sh installs it');
    program = await agentBundle();
    folder = await mkdtemp(join(tmpdir(), 'nexus-agent-'));
    const user = createUser();
    // The server of this test asks for no credentials; the file only has to be one.
    const creds = fmtCreds(await encodeUser('agent', user, createAccount()), user);
    await writeFile(join(folder, 'agent.creds'), creds);
    config = {
      nodeId: newNodeId(),
      nodeName: 'web-1',
      instance: 'test',
      natsUrl: `nats://127.0.0.1:${await freePort()}`,
      credsFile: join(folder, 'agent.creds'),
      tokenPublicKey: controller.publicKey.toString('base64'),
      host: '127.0.0.1',
      port: await freePort(),
      dataDir: join(folder, 'data'),
      volume: { kind: 'directory', sizeBytes: 64 * MIB },
      statusSocket: { path: join(folder, 'agent.sock') },
      cgroup: 'none',
      networkInterface: 'lo',
    };
    await writeFile(join(folder, 'agent.json'), JSON.stringify(config));
  });
  afterEach(async () => {
    await bus?.close();
    for (const child of started.splice(0)) await end(child, 'SIGKILL');
    await end(nats, 'SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  it('waits for NATS, comes back after a restart of it, and ends with 0 when asked to', async () => {
    startAgent();
    await startNats();
    const on = await joinBus();
    const before = AgentHeartbeat.decode(await heard(on, subjects.heartbeat(nodeId())));
    expect(before).to.include({ nodeId: config.nodeId, draining: false, intervalMs: 1000 });
    expect(Number(before.report?.volumeTotalBytes)).to.equal(64 * MIB);
    await end(nats, 'SIGKILL');
    await startNats();
    const after = AgentHeartbeat.decode(await heard(on, subjects.heartbeat(nodeId())));
    expect(after.agentInstance).to.equal(before.agentInstance);
    expect(await end(agent, 'SIGTERM')).to.equal(0);
  });

  it('ends in order when it is asked to before there is a bus', async () => {
    const child = startAgent();
    await listening();
    expect(await end(child, 'SIGTERM')).to.equal(0);
    expect(closingLine()).to.include({ ending: 'asked', msg: 'the agent ended as requested' });
  });

  it('refuses a data folder that another agent has, and takes it once that one is gone', async () => {
    const first = startAgent();
    await listening();
    const other = { ...config, port: await freePort(), statusSocket: { path: join(folder, 'other.sock') } };
    await writeFile(join(folder, 'agent.json'), JSON.stringify(other));
    expect(await ended(startAgent())).to.equal(1);
    const refusal = closingLine();
    expect(refusal).to.include({ ending: 'failed', code: 'failed_precondition' });
    expect(refusal['msg']).to.match(/data folder .* is in use by another agent; end that one first/);
    await end(first, 'SIGKILL');
    const next = startAgent();
    await listening(other.port);
    expect(await end(next, 'SIGTERM')).to.equal(0);
  });

  it('stores a chunk, does what it is told, and keeps its receipt key', async () => {
    await startNats();
    startAgent();
    const on = await joinBus();
    const { receiptPublicKey } = AgentHeartbeat.decode(await heard(on, subjects.heartbeat(nodeId())));
    const chunk = newChunkId();
    const content = randomBytes(MIB);
    const md5 = createHash('md5').update(content).digest('hex');
    const { nodeId: node } = config;
    const of = { file: 'f00d', index: 2, name: 'a.bin', owner: 'ann', replicas: 1, expected: MIB, created: 7 };
    const token = signClaims({ op: 'write', chunk, node, size: MIB, exp: Date.now() + 60_000, of }, controller);
    const answer = await fetch(`http://127.0.0.1:${config.port}/chunks/${chunk}`, {
      method: 'PUT',
      body: new Uint8Array(content),
      headers: { authorization: `Bearer ${token}`, 'x-nexus-md5': md5 },
    });
    expect(answer.status).to.equal(201);
    const listed = await ask(on, { listChunks: { after: '', limit: 10 } });
    const { name, owner, index, replicas } = of;
    const expectedBytes = BigInt(MIB);
    const origin = { fileId: of.file, name, owner, index, replicas, expectedBytes, createdAtMs: 7n, offset: undefined };
    expect(listed.chunks).to.deep.equal([{ chunkId: chunk, size: BigInt(MIB), md5, origin, damage: '' }]);
    const inspected = JSON.parse((await ask(on, { inspect: {} })).inspection) as Record<string, unknown>;
    expect(inspected).to.include({ node: 'web-1', nats_connected: true });
    expect(await (await fetch(`http://127.0.0.1:${config.port}/metrics`)).text()).to.match(
      /^nexus_agent_chunks\{node="web-1"\} 1$/m,
    );
    const gone = newChunkId();
    const deleted = await ask(on, { deleteChunks: { chunkIds: [gone, chunk] } });
    expect(deleted.deletedChunkIds).to.deep.equal([gone, chunk]);
    expect((await ask(on, { deleteChunks: { chunkIds: ['nonsense'] } })).errorCode).to.equal('invalid_argument');
    const beats = on.subscribe(subjects.heartbeat(nodeId()));
    expect((await ask(on, { pace: { intervalMs: 5000 } })).errorCode).to.equal('');
    // One that was on its way may come first.
    for await (const { data } of beats) if (AgentHeartbeat.decode(data).intervalMs === 5000) break;
    expect((await ask(on, { pace: { intervalMs: 60_000 } })).errorCode).to.equal('invalid_argument');
    const exited = once(agent ?? startAgent(), 'exit');
    expect(await ask(on, { shutdown: { graceMs: 1000 } })).to.include({ errorCode: '', idle: true });
    expect(await exited).to.deep.equal([0, null]);
    startAgent();
    const again = AgentHeartbeat.decode(await heard(on, subjects.heartbeat(nodeId())));
    expect(again.receiptPublicKey.equals(receiptPublicKey)).to.equal(true);
  });

  it('tells with its answer to a shutdown that a transfer runs, and lets it end', async () => {
    await startNats();
    const child = startAgent();
    const on = await joinBus();
    await heard(on, subjects.heartbeat(nodeId()));
    const chunk = newChunkId();
    const content = randomBytes(MIB);
    const md5 = createHash('md5').update(content).digest('hex');
    const { nodeId: node } = config;
    const of = { file: 'f00d', index: 0, name: 'a.bin', owner: 'ann', replicas: 1, expected: MIB, created: 7 };
    const token = signClaims({ op: 'write', chunk, node, size: MIB, exp: Date.now() + 60_000, of }, controller);
    const upload = request(`http://127.0.0.1:${config.port}/chunks/${chunk}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${token}`, 'x-nexus-md5': md5, 'content-length': MIB },
    });
    const answered = once(upload, 'response');
    upload.write(content.subarray(0, MIB / 2));
    await eventually(
      async () => JSON.parse((await ask(on, { inspect: {} })).inspection) as { transfers: { active: number } },
      ({ transfers }) => transfers.active === 1,
    );
    const exited = once(child, 'exit');
    expect(await ask(on, { shutdown: { graceMs: 10_000 } })).to.include({ errorCode: '', idle: false });
    upload.end(content.subarray(MIB / 2));
    const [response] = (await answered) as [IncomingMessage];
    expect(response.statusCode).to.equal(201);
    expect(await exited).to.deep.equal([0, null]);
  });
});
