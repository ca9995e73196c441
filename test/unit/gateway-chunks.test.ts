/** Chunks through the gateway: only to nodes that the controller knows, only with a token, and nothing kept in between. */
import { once } from 'node:events';
import { createServer, request as beginRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { createApp } from '../../gateway/app.js';
import { ChunkRelay } from '../../gateway/doors/chunks/relay.js';
import { Controller } from '../../gateway/controller/controller.js';
import { NexusError } from '../../shared/errors.js';
import { GetNodeResponse } from '../../shared/gen/nexus/v1/node.js';
import { createLogger } from '../../shared/log.js';
import { KIB } from '../../shared/limits.js';
import { ChunkClient } from '../../shared/transfer/chunk-client.js';
import { gatewayRoute } from '../../shared/transfer/route.js';
import { eventually } from '../support/cluster.js';
import { FakeAgent, md5Of } from '../support/fake-agent.js';
import { answer, FakeController } from '../support/fake-controller.js';
import { codeOf } from '../support/codes.js';

const NODE = '0123456789ab';
const CHUNK = 'c'.repeat(32);
const STALL_MS = 500;
const claimsOf = (claims: object): string => Buffer.from(JSON.stringify(claims)).toString('base64url');
/** As the fake controller accepts it. */
const USER_TOKEN = `head.${claimsOf({ sub: 'ann' })}.signature`;
const CHUNK_TOKEN = `${claimsOf({ holder: 'ann' })}.signature`;

describe('chunks through the gateway', () => {
  const log = createLogger('test', 'silent');
  let agent: FakeAgent;
  let fake: FakeController;
  let controller: Controller;
  let relay: ChunkRelay;
  let asked: string[];
  const server = createServer();

  before(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  beforeEach(async () => {
    agent = await FakeAgent.start('a');
    asked = [];
    const { address } = agent.target;
    const getNode = answer(({ node }: { node: string }) => {
      asked.push(node);
      if (node === 'f'.repeat(12)) return GetNodeResponse.fromPartial({ node: { id: NODE, name: node } });
      if (node !== NODE) throw new NexusError('not_found', `there is no node ${node}`);
      return GetNodeResponse.fromPartial({ node: { id: NODE, name: 'a', dataAddress: address } });
    });
    fake = await FakeController.start({ getNode });
    controller = new Controller(fake.socket);
    relay = new ChunkRelay(STALL_MS);
    const app = createApp({
      controller,
      relay,
      limits: {
        headerTimeoutMs: 1000,
        bodyTimeoutMs: 1000,
        stallMs: STALL_MS,
        drainMs: 1000,
        maxUploadBytes: 0,
        transfers: 8,
      },
      log,
      ownLog: { dropped: 0 },
      connections: { closed: 0 },
      isTls: false,
      corsOrigins: undefined,
      proxies: 0,
      mayReadMetrics: () => true,
      draining: new AbortController().signal,
    });
    const handle = app.callback();
    server.removeAllListeners('request');
    server.on('request', (request, response) => void handle(request, response));
  });
  afterEach(async () => {
    relay.close();
    controller.close();
    await fake[Symbol.asyncDispose]();
    await agent.stop();
  });

  const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const target = () => ({ ...agent.target, nodeId: NODE, address: '192.0.2.1:1', token: CHUNK_TOKEN });

  async function ask(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; body: string; headers: IncomingMessage['headers'] }> {
    const given = { authorization: `Bearer ${USER_TOKEN}`, 'x-nexus-chunk-token': CHUNK_TOKEN, ...headers };
    const known = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ''));
    // A connection each: some of these promise a body that never comes.
    const outgoing = beginRequest(`${url()}${path}`, { method, headers: known, agent: false });
    outgoing.end();
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    return { status: incoming.statusCode ?? 0, body: await text(incoming), headers: incoming.headers };
  }

  it('go out and in, with the chunk token for the agent and the user’s for the controller', async () => {
    const seen: (string | undefined)[] = [];
    agent.misbehave = (request) => {
      seen.push(request.url, request.headers.authorization, request.headers['x-nexus-chunk-token'] as string);
      return false;
    };
    const client = new ChunkClient(2, gatewayRoute(url(), USER_TOKEN, undefined));
    const data = Buffer.alloc(3_000_000, 'x');
    const { signal } = new AbortController();
    const stored = await client.put(target(), CHUNK, data, md5Of(data), signal);
    expect(stored.md5).to.equal(md5Of(data));
    const back = Buffer.alloc(data.length);
    expect(await client.get(target(), CHUNK, back, signal)).to.equal(data.length);
    expect(back.equals(data)).to.equal(true);
    client.close();
    const expected = [`/chunks/${CHUNK}`, `Bearer ${CHUNK_TOKEN}`, undefined];
    expect(seen).to.deep.equal([...expected, ...expected]);
    expect(asked).to.deep.equal([NODE, NODE]);
  });

  it('bring back what the agent refuses, as it said it', async () => {
    const client = new ChunkClient(1, gatewayRoute(url(), USER_TOKEN, undefined));
    const { signal } = new AbortController();
    expect(await codeOf(() => client.put(target(), CHUNK, Buffer.from('x'), md5Of(Buffer.from('y')), signal))).to.equal(
      'data_loss',
    );
    expect(await codeOf(() => client.get(target(), CHUNK, Buffer.alloc(1), signal))).to.equal('not_found');
    client.close();
  });

  it('reach nobody but agents of known nodes, and nothing of theirs but chunks', async () => {
    let reached = 0;
    agent.misbehave = () => {
      reached += 1;
      return false;
    };
    const path = `/chunks/${NODE}/${CHUNK}`;
    const cases: readonly (readonly [string, string, Record<string, string>, number])[] = [
      ['GET', `/chunks/${'e'.repeat(12)}/${CHUNK}`, {}, 404],
      // Found by name, prefix or otherwise: not by its id.
      ['GET', `/chunks/${'f'.repeat(12)}/${CHUNK}`, {}, 404],
      ['GET', `/chunks/localhost:22/${CHUNK}`, {}, 400],
      ['GET', `/chunks/127.0.0.1/${CHUNK}`, {}, 400],
      ['GET', `/chunks/${NODE}/..%2Finspect`, {}, 400],
      ['GET', `/chunks/${NODE}/%2e%2e/metrics`, {}, 404],
      ['GET', `/chunks/${NODE}/metrics`, {}, 400],
      ['DELETE', path, {}, 405],
      ['POST', path, {}, 405],
      ['GET', path, { authorization: '' }, 401],
      ['GET', path, { authorization: 'Basic dXNlcg==' }, 401],
      ['GET', path, { 'x-nexus-chunk-token': '' }, 400],
      ['GET', path, { 'x-nexus-chunk-token': 'a b' }, 400],
      ['GET', path, { 'x-nexus-chunk-token': 'no.claims' }, 400],
      ['GET', path, { 'x-nexus-chunk-token': `${claimsOf({ holder: 'bob' })}.signature` }, 403],
      ['PUT', path, { 'content-length': '0', 'x-nexus-chunk-token': `${claimsOf({ of: { owner: 'bob' } })}.s` }, 403],
      // Made for agents alone.
      ['GET', path, { 'x-nexus-chunk-token': `${claimsOf({ op: 'read' })}.signature` }, 403],
      ['PUT', path, { 'transfer-encoding': 'chunked' }, 400],
      ['PUT', path, { 'content-length': '10485761' }, 413],
    ];
    for (const [method, where, headers, status] of cases) {
      expect(await ask(method, where, headers), `${method} ${where}`).to.include({ status });
    }
    expect(reached).to.equal(0);
  });

  it('are given up when either side goes away or is silent', async () => {
    let began = 0;
    let ended = 0;
    agent.misbehave = (request) => {
      began += 1;
      request.resume();
      request.once('close', () => {
        ended += 1;
      });
      return true;
    };
    const path = `${url()}/chunks/${NODE}/${CHUNK}`;
    const headers = {
      authorization: `Bearer ${USER_TOKEN}`,
      'x-nexus-chunk-token': CHUNK_TOKEN,
      'content-length': String(KIB),
    };
    const leaving = beginRequest(path, { method: 'PUT', headers });
    leaving.on('error', () => undefined);
    leaving.write('x');
    await eventually(
      () => began,
      (now) => now === 1,
    );
    leaving.destroy();
    await eventually(
      () => ended,
      (now) => now === 1,
    );
    const silent = beginRequest(path, { method: 'PUT', headers });
    silent.write('x');
    const [incoming] = (await once(silent, 'response')) as [IncomingMessage];
    expect(incoming.statusCode).to.equal(503);
    expect(await text(incoming)).to.include('no data was sent');
    await eventually(
      () => ended,
      (now) => now === 2,
    );
    silent.destroy();
  });

  it('say so when the agent’s address leads nowhere', async () => {
    await agent.stop();
    const { status, body } = await ask('GET', `/chunks/${NODE}/${CHUNK}`);
    expect(status).to.equal(503);
    expect(JSON.parse(body)).to.include({ code: 'unavailable' });
    agent = await FakeAgent.start('again');
  });
});
