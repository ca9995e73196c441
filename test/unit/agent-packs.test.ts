/** Packs at an agent: many small chunks by one request, durable together. The program that flushes is a script here. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createDataServer } from '../../agent/chunk/server.js';
import { ChunkStore } from '../../agent/chunk/store.js';
import { Transfers } from '../../agent/chunk/transfers.js';
import { createAgentLog } from '../../agent/log.js';
import { VolumeFlush } from '../../agent/volume/flush.js';
import { MountedVolume } from '../../agent/volume/mounted.js';
import { systemClock } from '../../shared/async/clock.js';
import {
  generateSigningKey,
  publicKeyOf,
  signClaims,
  verifyPackReceipt,
  type PackReceiptClaims,
  type PackTokenClaims,
} from '../../shared/chunk-token.js';
import type { ErrorReply, PackReply } from '../../shared/data-plane.js';
import { newChunkId, newNodeId, type ChunkId } from '../../shared/ids.js';
import { packHead } from '../../shared/peer/pack.js';
import { eventually } from '../support/cluster.js';

const controller = generateSigningKey();
const md5Of = (content: Buffer): string => createHash('md5').update(content).digest('hex');

interface Part {
  readonly chunk: ChunkId;
  readonly data: Buffer;
}

const someParts = (count: number): Part[] =>
  Array.from({ length: count }, (_none, at) => ({ chunk: newChunkId(), data: randomBytes(100 + at) }));

/** Answers with the errno in its file `answer`, and notes each flush in `flushes`. */
const FLUSHER = `
  const { appendFileSync, readFileSync } = require('node:fs');
  process.stdin.on('data', (asked) => {
    for (const _ of asked) {
      appendFileSync(process.argv[2] + '/../flushes', '.');
      process.stdout.write(readFileSync(process.argv[2] + '/../answer', 'utf8') + '\\n');
    }
  });
`;

class PackAgent {
  readonly nodeId = newNodeId();
  readonly receiptKey = generateSigningKey();

  private constructor(
    readonly folder: string,
    readonly store: ChunkStore,
    private readonly flush: VolumeFlush | undefined,
    private server?: Server,
  ) {}

  static async start(isFlushing = true): Promise<PackAgent> {
    const folder = await mkdtemp(join(tmpdir(), 'nexus-packs-'));
    const dataDir = join(folder, 'volume');
    const log = createAgentLog({}, 'error', () => undefined);
    const store = new ChunkStore({ volume: new MountedVolume(dataDir), clock: systemClock, log });
    await store.recover();
    const program = join(folder, 'flusher');
    writeFileSync(program, `#!${process.execPath}\n${FLUSHER}`, { mode: 0o755 });
    writeFileSync(join(folder, 'answer'), '0');
    writeFileSync(join(folder, 'flushes'), '');
    const flush = isFlushing ? new VolumeFlush(program, dataDir) : undefined;
    const agent = new PackAgent(folder, store, flush);
    const { nodeId, receiptKey } = agent;
    const tokenKey = publicKeyOf(controller.publicKey);
    const context = {
      nodeId,
      tokenKey,
      clock: systemClock,
      store,
      transfers: new Transfers(4),
      receiptKey,
      flush,
      log,
    };
    agent.server = createDataServer(context, {});
    agent.server.listen(0, '127.0.0.1');
    await once(agent.server, 'listening');
    return agent;
  }

  get port(): number {
    return (this.server?.address() as AddressInfo).port;
  }

  get flushes(): number {
    return readFileSync(join(this.folder, 'flushes'), 'utf8').length;
  }

  answerFlushesWith(errno: number): void {
    writeFileSync(join(this.folder, 'answer'), String(errno));
  }

  token(parts: readonly Part[], change: Partial<PackTokenClaims> = {}): string {
    const of = { file: 'f', index: 0, name: 'n', owner: 'o', replicas: 1, expected: 1, created: 1 };
    const chunks = parts.map(({ chunk, data }) => ({ chunk, size: data.length, of }));
    const claims = { op: 'write-pack', node: this.nodeId, exp: Date.now() + 60_000, chunks } as const;
    return signClaims({ ...claims, ...change }, controller);
  }

  body(parts: readonly Part[], token = this.token(parts)): Buffer {
    const chunks = parts.map(({ chunk, data }) => ({ chunk, size: data.length, md5: md5Of(data) }));
    return Buffer.concat([packHead({ token, chunks }), ...parts.map(({ data }) => data)]);
  }

  post(body: Buffer): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}/packs`, { method: 'POST', body: new Uint8Array(body) });
  }

  async send(parts: readonly Part[], token?: string): Promise<PackReply> {
    const answer = await this.post(this.body(parts, token));
    expect(answer.status).to.equal(200);
    return (await answer.json()) as PackReply;
  }

  signed(receipt: string | undefined): PackReceiptClaims {
    return verifyPackReceipt(receipt ?? '', publicKeyOf(this.receiptKey.publicKey)) as PackReceiptClaims;
  }

  /** Files of the volume, without those of the agent itself. */
  async files(): Promise<string[]> {
    const all = await readdir(join(this.folder, 'volume'), { recursive: true, withFileTypes: true });
    return all.filter((one) => one.isFile() && !one.parentPath.endsWith('.agent')).map(({ name }) => name);
  }

  async stop(): Promise<void> {
    this.flush?.close();
    this.server?.close();
    this.server?.closeAllConnections();
    await rm(this.folder, { recursive: true, force: true });
  }
}

describe('packs of small chunks', () => {
  let agents: PackAgent[];
  beforeEach(async () => {
    agents = [await PackAgent.start(), await PackAgent.start()];
  });
  afterEach(async () => {
    for (const agent of agents) await agent.stop();
  });

  it('are stored by two flushes, and one receipt names all chunks', async () => {
    const [agent] = agents;
    const parts = someParts(40);
    const { receipts, failures } = await agent!.send(parts);
    expect(failures).to.deep.equal([]);
    const { node, chunks } = agent!.signed(receipts[0]);
    expect(node).to.equal(agent!.nodeId);
    expect(chunks).to.have.deep.members(
      parts.map(({ chunk, data }) => ({ chunk, size: data.length, md5: md5Of(data) })),
    );
    expect(agent!.flushes).to.equal(2);
    expect(agent!.store.counters).to.include({ chunks: 40, writes: 40 });
    for (const { chunk } of parts) expect((await agent!.store.find(chunk))?.of?.owner).to.equal('o');
    expect((await agent!.files()).length).to.equal(80);
  });

  it('are stored without such a program, each chunk synced by itself', async () => {
    const agent = await PackAgent.start(false);
    agents.push(agent);
    expect((await agent.send(someParts(5))).failures).to.deep.equal([]);
    expect(agent.store.counters.chunks).to.equal(5);
  });

  it('go on to further replicas, whose receipts come along', async () => {
    const [agent, other] = agents;
    const parts = someParts(10);
    const forward = [{ node: other!.nodeId, address: `127.0.0.1:${other!.port}`, token: other!.token(parts) }];
    const { receipts, failures } = await agent!.send(parts, agent!.token(parts, { forward }));
    expect(failures).to.deep.equal([]);
    expect(agent!.signed(receipts[0]).chunks).to.have.length(10);
    expect(other!.signed(receipts[1]).chunks).to.have.length(10);
    expect(other!.store.counters.chunks).to.equal(10);
  });

  it('larger than any buffer on the way reach a replica, too', async () => {
    const [agent, other] = agents;
    const parts = Array.from({ length: 60 }, () => ({ chunk: newChunkId(), data: randomBytes(100_000) }));
    const forward = [{ node: other!.nodeId, address: `127.0.0.1:${other!.port}`, token: other!.token(parts) }];
    expect((await agent!.send(parts, agent!.token(parts, { forward }))).failures).to.deep.equal([]);
    expect(other!.store.counters.chunks).to.equal(60);
  });

  it('name the chunks of a replica that is not there, and keep their own', async () => {
    const [agent, other] = agents;
    const parts = someParts(3);
    const forward = [{ node: other!.nodeId, address: '127.0.0.1:1', token: other!.token(parts) }];
    const { receipts, failures } = await agent!.send(parts, agent!.token(parts, { forward }));
    expect(agent!.signed(receipts[0]).chunks).to.have.length(3);
    expect(failures.map(({ node, chunk, code }) => ({ node, chunk, code }))).to.have.deep.members(
      parts.map(({ chunk }) => ({ node: other!.nodeId, chunk, code: 'unavailable' })),
    );
  });

  it('have a chunk that fails alone: damaged, deleted, or there with other content', async () => {
    const [agent] = agents;
    const parts = someParts(5);
    const [damaged, deleted, other] = parts;
    await agent!.send([{ chunk: other!.chunk, data: randomBytes(50) }]);
    await agent!.store.delete(deleted!.chunk);
    const body = agent!.body(parts);
    body.writeUInt8(body.readUInt8(body.length - 1) ^ 1, body.length - 1);
    const answer = (await (await agent!.post(body)).json()) as PackReply;
    const last = parts.at(-1)!;
    expect(Object.fromEntries(answer.failures.map(({ chunk, code }) => [chunk, code]))).to.deep.equal({
      [last.chunk]: 'data_loss',
      [deleted!.chunk]: 'failed_precondition',
      [other!.chunk]: 'already_exists',
    });
    const stored = agent!.signed(answer.receipts[0]).chunks.map(({ chunk }) => chunk);
    expect(stored).to.have.members([damaged!.chunk, parts[3]!.chunk]);
  });

  it('are not acknowledged when the volume can’t be flushed, and leave nothing', async () => {
    const [agent] = agents;
    agent!.answerFlushesWith(5);
    const parts = someParts(8);
    const { receipts, failures } = await agent!.send(parts);
    expect(receipts).to.deep.equal([]);
    expect(new Set(failures.map(({ code }) => code))).to.deep.equal(new Set(['unavailable']));
    expect(failures).to.have.length(8);
    expect(await agent!.files()).to.deep.equal([]);
    agent!.answerFlushesWith(0);
    expect((await agent!.send(parts)).failures).to.deep.equal([]);
  });

  it('need a token for this node, these chunks and this time', async () => {
    const [agent, other] = agents;
    const parts = someParts(2);
    const codeOf = async (token: string): Promise<string> =>
      ((await (await agent!.post(agent!.body(parts, token))).json()) as ErrorReply).code;
    const forged = signClaims(
      { op: 'write-pack', node: agent!.nodeId, exp: Date.now() + 1000, chunks: [] },
      generateSigningKey(),
    );
    expect(await codeOf(forged)).to.equal('unauthenticated');
    expect(await codeOf(agent!.token(parts, { exp: Date.now() - 1 }))).to.equal('unauthenticated');
    expect(await codeOf(other!.token(parts))).to.equal('permission_denied');
    expect(await codeOf(agent!.token(parts.slice(1)))).to.equal('permission_denied');
    const smaller = parts.map(({ chunk }) => ({ chunk, data: Buffer.alloc(1) }));
    expect(await codeOf(agent!.token(smaller))).to.equal('permission_denied');
    const single = {
      op: 'write',
      chunk: parts[0]!.chunk,
      node: agent!.nodeId,
      size: 1000,
      exp: Date.now() + 1000,
    } as const;
    expect(await codeOf(signClaims(single, controller))).to.equal('permission_denied');
    expect(await agent!.files()).to.deep.equal([]);
  });

  it('are refused when malformed, whatever is wrong', async () => {
    const [agent] = agents;
    const parts = someParts(2);
    const whole = agent!.body(parts);
    const twice = [parts[0]!, parts[0]!];
    const bodies = [
      Buffer.alloc(0),
      whole.subarray(0, 3),
      whole.subarray(0, 50),
      whole.subarray(0, whole.length - 1),
      Buffer.concat([whole, Buffer.alloc(1)]),
      Buffer.from([0, 0, 0, 2, 0x7b, 0x7d]),
      Buffer.from([0xff, 0xff, 0xff, 0xff]),
      agent!.body([]),
      agent!.body(twice),
      packHead({ token: agent!.token(parts), chunks: [{ chunk: '../../etc/passwd', size: 1, md5: md5Of(whole) }] }),
    ];
    for (const body of bodies) {
      const answer = await agent!.post(body);
      expect([answer.status, ((await answer.json()) as ErrorReply).code]).to.deep.equal([400, 'invalid_argument']);
    }
    expect(await agent!.files()).to.deep.equal([]);
    expect((await fetch(`http://127.0.0.1:${agent!.port}/packs`)).status).to.equal(501);
  });

  it('whose sender goes away leave nothing', async () => {
    const [agent] = agents;
    const parts = someParts(20);
    const body = agent!.body(parts);
    const outgoing = request({
      port: agent!.port,
      method: 'POST',
      path: '/packs',
      headers: { 'content-length': body.length },
    });
    outgoing.on('error', () => undefined);
    outgoing.write(body.subarray(0, body.length - 10));
    await eventually(
      () => agent!.files(),
      (files) => files.length === 19,
    );
    outgoing.destroy();
    await eventually(
      () => agent!.files(),
      (files) => files.length === 0,
    );
    expect((await agent!.send(parts)).failures).to.deep.equal([]);
  });
});
