import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createDataServer } from '../../agent/chunk/server.js';
import { ChunkStore } from '../../agent/chunk/store.js';
import { Transfers } from '../../agent/chunk/transfers.js';
import { createAgentLog } from '../../agent/log.js';
import { MountedVolume } from '../../agent/volume/mounted.js';
import {
  generateSigningKey,
  publicKeyOf,
  signClaims,
  verifyReceipt,
  type ChunkTokenClaims,
} from '../../shared/chunk-token.js';
import { systemClock } from '../../shared/async/clock.js';
import type { ErrorReply, StoredReply } from '../../shared/data-plane.js';
import { newChunkId, newNodeId, type ChunkId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';

const controller = generateSigningKey();
const md5Of = (content: Buffer): string => createHash('md5').update(content).digest('hex');

class TestAgent {
  readonly nodeId = newNodeId();
  readonly receiptKey = generateSigningKey();
  readonly transfers = new Transfers(4);

  private constructor(
    readonly dataDir: string,
    readonly store: ChunkStore,
    private server?: Server,
  ) {}

  static async start(): Promise<TestAgent> {
    const dataDir = await mkdtemp(join(tmpdir(), 'nexus-server-'));
    const log = createAgentLog({}, 'error', () => undefined);
    const store = new ChunkStore({ volume: new MountedVolume(dataDir), clock: systemClock, log });
    await store.recover();
    const agent = new TestAgent(dataDir, store);
    const { nodeId, receiptKey, transfers } = agent;
    const tokenKey = publicKeyOf(controller.publicKey);
    const context = { nodeId, tokenKey, clock: systemClock, store, transfers, receiptKey, log };
    const page = { contentType: 'text/plain', render: () => Promise.resolve('fine') };
    agent.server = createDataServer(context, { '/healthz': page });
    agent.server.listen(0, '127.0.0.1');
    await once(agent.server, 'listening');
    return agent;
  }

  get address(): string {
    return `127.0.0.1:${(this.server?.address() as AddressInfo).port}`;
  }

  claims(chunk: ChunkId, more: Partial<ChunkTokenClaims> = {}): ChunkTokenClaims {
    return { op: 'write', chunk, node: this.nodeId, size: 10 * MIB, exp: Date.now() + 60_000, ...more };
  }

  token(chunk: ChunkId, more: Partial<ChunkTokenClaims> = {}): string {
    return signClaims(this.claims(chunk, more), controller);
  }

  put(chunk: ChunkId, content: Buffer, token = this.token(chunk), md5 = md5Of(content)): Promise<Response> {
    return fetch(`http://${this.address}/chunks/${chunk}`, {
      method: 'PUT',
      body: new Uint8Array(content),
      headers: { authorization: `Bearer ${token}`, 'x-nexus-md5': md5 },
    });
  }

  get(chunk: ChunkId, method = 'GET'): Promise<Response> {
    const authorization = `Bearer ${this.token(chunk, { op: 'read' })}`;
    return fetch(`http://${this.address}/chunks/${chunk}`, { method, headers: { authorization } });
  }

  async stop(): Promise<void> {
    this.server?.close();
    this.server?.closeAllConnections();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

const codeOf = async (answer: Response): Promise<string> => ((await answer.json()) as ErrorReply).code;

describe('chunk server', () => {
  let agent: TestAgent;
  let other: TestAgent;
  const content = randomBytes(2 * MIB + 5);

  beforeEach(async () => {
    agent = await TestAgent.start();
    other = await TestAgent.start();
  });
  afterEach(async () => {
    await agent.stop();
    await other.stop();
  });

  it('accepts a chunk from the start, gives a receipt and gives the chunk back', async () => {
    const chunk = newChunkId();
    const answer = await agent.put(chunk, content);
    expect(answer.status).to.equal(201);
    const reply = (await answer.json()) as StoredReply;
    expect(reply).to.include({ size: content.length, md5: md5Of(content) });
    const receipt = verifyReceipt(reply.receipts[0] ?? '', publicKeyOf(agent.receiptKey.publicKey));
    expect(receipt).to.include({ chunk, node: agent.nodeId, size: content.length, md5: md5Of(content) });
    const read = await agent.get(chunk);
    expect(read.headers.get('x-nexus-md5')).to.equal(md5Of(content));
    expect(Buffer.from(await read.arrayBuffer()).equals(content)).to.equal(true);
    const head = await agent.get(chunk, 'HEAD');
    expect(head.headers.get('content-length')).to.equal(String(content.length));
  });

  it('may be asked again at once: the chunk is not in anyone’s hands when the answer is there', async () => {
    const chunk = newChunkId();
    for (const status of [201, 200, 200]) expect((await agent.put(chunk, content)).status).to.equal(status);
  });

  it('stores and gives back an empty chunk', async () => {
    const chunk = newChunkId();
    expect((await agent.put(chunk, Buffer.alloc(0))).status).to.equal(201);
    expect((await (await agent.get(chunk)).arrayBuffer()).byteLength).to.equal(0);
  });

  it('refuses tokens that are missing, forged, expired or for something else', async () => {
    const chunk = newChunkId();
    const forged = signClaims(agent.claims(chunk), generateSigningKey());
    const cases: readonly [token: string, status: number, code: string][] = [
      ['', 401, 'unauthenticated'],
      ['nonsense', 401, 'unauthenticated'],
      [forged, 401, 'unauthenticated'],
      [agent.token(chunk, { exp: Date.now() - 1 }), 401, 'unauthenticated'],
      [agent.token(chunk, { op: 'read' }), 403, 'permission_denied'],
      [agent.token(newChunkId()), 403, 'permission_denied'],
      [agent.token(chunk, { node: other.nodeId }), 403, 'permission_denied'],
      [agent.token(chunk, { size: content.length - 1 }), 403, 'permission_denied'],
    ];
    for (const [token, status, code] of cases) {
      const answer = await agent.put(chunk, content, token);
      expect([answer.status, await codeOf(answer)]).to.deep.equal([status, code]);
    }
    expect(agent.store.counters.chunks).to.equal(0);
  });

  it('refuses to read by a token for another operation, chunk or node, or after its time', async () => {
    const chunk = newChunkId();
    expect((await agent.put(chunk, content)).status).to.equal(201);
    for (const [more, status] of [
      [{ op: 'write' }, 403],
      [{ op: 'read', chunk: newChunkId() }, 403],
      [{ op: 'read', node: other.nodeId }, 403],
      [{ op: 'read', exp: Date.now() - 1 }, 401],
      [{ op: 'read' }, 200],
    ] as const) {
      const authorization = `Bearer ${agent.token(chunk, more)}`;
      const answer = await fetch(`http://${agent.address}/chunks/${chunk}`, { headers: { authorization } });
      expect(answer.status, JSON.stringify(more)).to.equal(status);
      await answer.arrayBuffer();
    }
  });

  it('lets a write token that is used again neither change a chunk nor bring back one that was deleted', async () => {
    const chunk = newChunkId();
    const token = agent.token(chunk);
    expect((await agent.put(chunk, content, token)).status).to.equal(201);
    expect((await agent.put(chunk, content, token)).status, 'the same').to.equal(200);
    const changed = Buffer.from(content).fill('x');
    expect((await agent.put(chunk, changed, token)).status, 'other content').to.equal(409);
    expect((await agent.put(chunk, content.subarray(1), token)).status, 'shorter').to.equal(409);
    expect(agent.store.counters.writes).to.equal(1);
    expect(Buffer.from(await (await agent.get(chunk)).arrayBuffer()).equals(content)).to.equal(true);
    await agent.store.delete(chunk);
    const late = await agent.put(chunk, content, token);
    expect([late.status, await codeOf(late)]).to.deep.equal([409, 'failed_precondition']);
    expect((await agent.get(chunk)).status).to.equal(404);
    expect(agent.store.counters).to.include({ chunks: 0, bytes: 0 });
  });

  it('refuses a write whose body is longer or shorter than it says', async () => {
    const chunk = newChunkId();
    const send = (body: Buffer, size: number): Promise<string> =>
      new Promise((resolve) => {
        const outgoing = request(`http://${agent.address}/chunks/${chunk}`, {
          method: 'PUT',
          headers: {
            authorization: `Bearer ${agent.token(chunk, { size })}`,
            'transfer-encoding': 'chunked',
            'x-nexus-md5': md5Of(body),
          },
        });
        outgoing.once('response', (incoming) => {
          incoming.resume();
          resolve(String(incoming.statusCode));
        });
        outgoing.end(body);
      });
    // Without a length nobody could tell before the last byte.
    expect(await send(content, content.length - 1)).to.equal('400');
    expect(await send(content, content.length)).to.equal('400');
    expect(agent.store.counters.chunks).to.equal(0);
  });

  it('refuses a wrong or missing MD5, an unknown chunk, path and method', async () => {
    const chunk = newChunkId();
    expect(await codeOf(await agent.put(chunk, content, agent.token(chunk), md5Of(Buffer.from('x'))))).to.equal(
      'data_loss',
    );
    expect(await codeOf(await agent.put(chunk, content, agent.token(chunk), 'UPPER'))).to.equal('invalid_argument');
    expect((await agent.get(newChunkId())).status).to.equal(404);
    expect((await fetch(`http://${agent.address}/chunks/../etc`)).status).to.equal(404);
    expect((await fetch(`http://${agent.address}/chunks/short`)).status).to.equal(400);
    expect((await fetch(`http://${agent.address}/chunks/${chunk}`, { method: 'DELETE' })).status).to.equal(501);
    expect(await readdir(join(agent.dataDir, 'tmp'))).to.deep.equal([]);
  });

  it('writes to further replicas at the same time and returns their receipts', async () => {
    const chunk = newChunkId();
    const forward = [{ node: other.nodeId, address: other.address, token: other.token(chunk) }];
    const answer = await agent.put(chunk, content, agent.token(chunk, { forward }));
    const reply = (await answer.json()) as StoredReply;
    expect(reply.failed_nodes).to.deep.equal([]);
    const receipt = verifyReceipt(reply.receipts[1] ?? '', publicKeyOf(other.receiptKey.publicKey));
    expect(receipt.node).to.equal(other.nodeId);
    expect(Buffer.from(await (await other.get(chunk)).arrayBuffer()).equals(content)).to.equal(true);
  });

  it('remembers beside each replica which part of which file it is', async () => {
    const chunk = newChunkId();
    const of = { file: 'f'.repeat(16), index: 3, name: 'ä"b', owner: 'ann', replicas: 2, expected: 0, created: 7 };
    const forward = [{ node: other.nodeId, address: other.address, token: other.token(chunk, { of }) }];
    const token = agent.token(chunk, { of, forward });
    expect((await agent.put(chunk, Buffer.from('content'), token)).status).to.equal(201);
    for (const { store } of [agent, other]) {
      const listed = await store.list('', 10);
      expect(listed.map((found) => found.of)).to.deep.equal([of]);
    }
  });

  it('names a replica that refuses or is not there, and keeps its own', async () => {
    const chunk = newChunkId();
    const gone = newNodeId();
    const forward = [
      { node: other.nodeId, address: other.address, token: 'refused' },
      { node: gone, address: '127.0.0.1:1', token: 'unreachable' },
    ];
    const answer = await agent.put(chunk, content, agent.token(chunk, { forward }));
    expect(answer.status).to.equal(201);
    const reply = (await answer.json()) as StoredReply;
    expect(reply.failed_nodes).to.deep.equal([other.nodeId, gone]);
    expect(reply.receipts).to.have.length(1);
    expect((await agent.get(chunk)).status).to.equal(200);
  });

  it('leaves nothing of a chunk whose sender goes away', async () => {
    const chunk = newChunkId();
    const sender = request(`http://${agent.address}/chunks/${chunk}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${agent.token(chunk)}`, 'content-length': MIB, 'x-nexus-md5': md5Of(content) },
    });
    sender.on('error', () => undefined);
    sender.write(Buffer.alloc(512));
    while (agent.transfers.active === 0) await systemClock.sleep(1);
    sender.destroy();
    while (agent.transfers.active > 0) await systemClock.sleep(1);
    expect(await readdir(join(agent.dataDir, 'tmp'))).to.deep.equal([]);
    expect((await agent.put(chunk, content)).status).to.equal(201);
  });

  it('takes a chunk from whoever sends it again, when the first sender is silent in the middle', async () => {
    const chunk = newChunkId();
    const headers = {
      authorization: `Bearer ${agent.token(chunk)}`,
      'x-nexus-md5': md5Of(content),
      'content-length': content.length,
    };
    // As a node that was killed with its network: its connection is never closed.
    const silent = request(`http://${agent.address}/chunks/${chunk}`, { method: 'PUT', headers });
    const refused = once(silent, 'response');
    silent.write(content.subarray(0, MIB));
    await eventually(
      () => readdir(join(agent.dataDir, 'tmp')),
      (names) => names.length === 1,
    );
    expect((await agent.put(chunk, content)).status).to.equal(201);
    const [answer] = (await refused) as [IncomingMessage];
    expect(answer.statusCode).to.equal(409);
    let said = '';
    for await (const piece of answer) said += String(piece);
    expect(JSON.parse(said)).to.deep.include({ code: 'aborted' });
    silent.destroy();
    expect(Buffer.from(await (await agent.get(chunk)).arrayBuffer()).equals(content)).to.equal(true);
    expect(await readdir(join(agent.dataDir, 'tmp'))).to.deep.equal([]);
  });

  it('bounds the transfers that run at once', async () => {
    const held = Array.from({ length: 4 }, () => agent.transfers.begin());
    const answer = await agent.put(newChunkId(), content);
    expect([answer.status, answer.headers.get('retry-after')]).to.deep.equal([503, '1']);
    for (const transfer of held) transfer[Symbol.dispose]();
    expect((await agent.put(newChunkId(), content)).status).to.equal(201);
  });

  it('on the way down refuses what is new and waits for what runs', async () => {
    const running = agent.transfers.begin();
    const drained = agent.transfers.drain(5000);
    const answer = await agent.put(newChunkId(), content);
    expect([answer.status, await codeOf(answer)]).to.deep.equal([503, 'unavailable']);
    running[Symbol.dispose]();
    expect(await drained).to.equal(true);
  });

  it('serves status pages without a token', async () => {
    const answer = await fetch(`http://${agent.address}/healthz`);
    expect([answer.status, await answer.text()]).to.deep.equal([200, 'fine']);
  });
});
