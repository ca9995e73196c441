/** The gateway's routes over a controller that a test scripts: what one client may hold at once. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { expect } from 'chai';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { createApp } from '../../gateway/app.js';
import { ChunkRelay } from '../../gateway/doors/chunks/relay.js';
import { Controller } from '../../gateway/controller/controller.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { createLogger } from '../../shared/log.js';
import { FakeAgent, storedFile } from '../support/fake-agent.js';
import { answer, FakeController } from '../support/fake-controller.js';

const LIMITS = {
  headerTimeoutMs: 10_000,
  bodyTimeoutMs: 60_000,
  stallMs: 60_000,
  drainMs: 0,
  maxUploadBytes: 0,
  transfers: 4,
};

/** More than the buffers of a connection take, so that a client that does not read holds it up. */
const STORED = {
  id: 'f'.repeat(32),
  name: 'large',
  size: BigInt(4 * CHUNK_SIZE_BYTES),
  chunksCount: 4,
  replicas: 1,
  owner: 'alice',
  status: 'ready',
  createdAt: '2026-01-01T00:00:00.000Z',
  explicitSizes: false,
};

describe('what one client of the gateway may hold', () => {
  let fake: FakeController;
  let agent: FakeAgent;
  let stored: ReturnType<typeof storedFile>;
  let controller: Controller;
  let url: URL;
  let close: () => Promise<void>;
  let subscriptions = 0;
  const lines: string[] = [];
  const sockets = new Set<Socket>();

  before(async () => {
    fake = await FakeController.start({
      // The token is the user's name here.
      whoAmI: ((call: { metadata: { get(name: string): unknown[] } }, done: (error: null, value: unknown) => void) => {
        const username = String(call.metadata.get('authorization')[0]).replace('Bearer ', '');
        done(null, { username, role: 'user', email: '', tokenId: '', expiresAt: '' });
      }) as never,
      watchEvents: ((call: ServerWritableStream<{ follow: boolean }, unknown>) => {
        if (!call.request.follow) call.end();
        else subscriptions += 1;
      }) as never,
      makeFolder: answer(() => ({ entry: undefined })),
      getFile: answer(() => ({ file: STORED })),
      openDownload: answer(() => ({
        file: STORED,
        chunkSize: CHUNK_SIZE_BYTES,
        chunks: stored.sources.map(({ offset = 0, ...source }) => ({ ...source, offset: BigInt(offset) })),
      })),
    });
    agent = await FakeAgent.start('a');
    const parts = Array.from({ length: STORED.chunksCount }, () => Buffer.alloc(CHUNK_SIZE_BYTES, 'x'));
    stored = storedFile(parts, [agent]);
    controller = new Controller(fake.socket);
    const relay = new ChunkRelay(LIMITS.stallMs);
    const draining = new AbortController();
    const app = createApp({
      controller,
      relay,
      limits: LIMITS,
      log: createLogger('test', 'info', { write: (line) => lines.push(line) }),
      isTls: false,
      corsOrigins: undefined,
      proxies: 0,
      ownLog: { dropped: 0 },
      connections: { closed: 0 },
      mayReadMetrics: () => true,
      draining: draining.signal,
    });
    const handle = app.callback();
    const server = createServer((request, response) => void handle(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    close = async () => {
      draining.abort();
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
      relay.close();
      controller.close();
      await agent.stop();
      await fake[Symbol.asyncDispose]();
    };
  });
  after(() => close());

  const answered: string[] = [];
  /** Sends the head of a request with a body of 1.9 MB, and nothing of it: it is answered at once, or held. */
  const begin = (user: string): void => {
    const socket = connect(Number(url.port), url.hostname);
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.write(
      `POST /api/lambda/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${user}\r\n` +
        'Content-Type: application/json\r\nContent-Length: 1900000\r\n\r\n{',
    );
    socket.once('data', (data) => answered.push(data.toString('latin1')));
  };
  const until = async (holds: () => boolean, what: string): Promise<void> => {
    for (const end = performance.now() + 60_000; !holds() && performance.now() < end;)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(holds(), what).to.equal(true);
  };
  const begun = async (status: number, count: number): Promise<void> => {
    await until(() => answered.length >= count, `${count} answers of ${status}`);
    for (const text of answered.splice(0)) {
      expect(text.slice(9, 12)).to.equal(String(status));
      expect(text).to.match(/retry-after: 1/i);
    }
  };

  // Before the others: they make so many refusals that lines of them are left out.
  it('lines of the log: one for a body or a download that its client breaks off, and no error', async () => {
    lines.length = 0;
    const half = connect(Number(url.port), url.hostname);
    half.on('error', () => undefined).resume();
    half.end('POST /auth/login/init HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{');
    await once(half, 'close');
    await until(() => lines.some((line) => line.includes('/auth/login/init')), 'the request ends');
    const socket = connect(Number(url.port), url.hostname);
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.write(`GET /api/files/${STORED.id}/download HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n\r\n`);
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString('latin1', 0, 15)).to.equal('HTTP/1.1 200 OK');
    socket.destroy();
    await until(() => lines.some((line) => line.includes('"status":499')), 'the request ends');
    // What is logged of the first comes before this one is answered.
    const headers = { authorization: 'Bearer alice', range: 'bytes=0-9' };
    const part = await fetch(new URL(`/api/files/${STORED.id}/download`, url), { headers });
    expect(await part.text()).to.equal('x'.repeat(10));
    for (const range of ['bytes=0-9', `bytes=${STORED.size}-`]) {
      const head = await fetch(part.url, { method: 'HEAD', headers: { ...headers, range } });
      expect([head.status, head.headers.get('content-range')], range).to.deep.equal([200, null]);
      expect(head.headers.get('content-length'), range).to.equal(String(STORED.size));
    }
    expect(lines.filter((line) => /request failed|"err"|"level":"?(50|error)/.test(line))).to.deep.equal([]);
  }).timeout(60_000);

  it('bytes of bodies: beyond the share of one a request is refused before its body is read', async () => {
    for (let number = 0; number < 300; number += 1) begin('mallory');
    // 16 MiB have room for eight of them.
    await begun(429, 292);
    // Others have a share each, until all together have theirs: 27 more.
    for (let number = 0; number < 60; number += 1) begin(`user${number}`);
    await begun(503, 60 - 27);
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    for (let number = 0; number < 9; number += 1) begin('mallory');
    await until(() => answered.length > 0, 'what was held is free again');
    await begun(429, 1);
  }).timeout(200_000);

  it('lines of the log: some of what strangers are refused, and all of what users are answered', async () => {
    lines.length = 0;
    const socket = connect(Number(url.port), url.hostname);
    sockets.add(socket);
    let answers = 0;
    let rest = '';
    socket.on('data', (data) => {
      // The beginning of an answer may come in two parts.
      const parts = `${rest}${data.toString('latin1')}`.split('HTTP/1.1 ');
      answers += parts.length - 1;
      rest = parts.at(-1)?.slice(-8) ?? '';
    });
    const path = `/none/${'x'.repeat(2000)}`;
    const unwanted = [`GET ${path}`, 'GET /api/nodes', 'GET /openapi.json', 'DELETE /api/nodes', 'GET /%zz'];
    for (let number = 0; number < 5000; number += 1)
      socket.write(`${unwanted[number % unwanted.length] ?? ''} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await until(() => answers >= 5000, 'all are answered');
    // Five in ten seconds; a machine that takes minutes for this is allowed for.
    expect(lines.length).to.be.at.most(100);
    expect(lines.join('')).not.to.contain('xxxx');
    lines.length = 0;
    const headers = { authorization: 'Bearer alice' };
    for (let number = 0; number < 20; number += 1) await fetch(new URL('/auth/whoami', url), { headers });
    expect(lines.filter((line) => line.includes('"msg":"request"'))).to.have.length(20);
  }).timeout(200_000);

  it('streams of events: one subscription for all of a user’s, and no more than so many', async () => {
    const gone = new AbortController();
    const open = (user: string) =>
      fetch(new URL('/api/events', url), { headers: { authorization: `Bearer ${user}` }, signal: gone.signal });
    const answers = await Promise.all(Array.from({ length: 50 }, () => open('alice')));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).to.have.length(32);
    expect(statuses.filter((status) => status === 429)).to.have.length(18);
    expect((await open('bob')).status).to.equal(200);
    const until = performance.now() + 5000;
    while (subscriptions < 2 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(subscriptions).to.equal(2);
    gone.abort();
    let status = 0;
    for (const end = performance.now() + 5000; status !== 200 && performance.now() < end;) {
      const leaving = new AbortController();
      const headers = { authorization: 'Bearer alice' };
      ({ status } = await fetch(new URL('/api/events', url), { headers, signal: leaving.signal }));
      leaving.abort();
    }
    expect(status).to.equal(200);
  });
});
