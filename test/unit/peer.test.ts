/** The client of agents: how each exchange ends, with which code, and what is left of it. */
import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { sleep } from '../../shared/async/timers.js';
import { KIB } from '../../shared/limits.js';
import { chunkAt, peerAddress } from '../../shared/peer/address.js';
import { PeerExchange, replyText, type PeerRequest } from '../../shared/peer/exchange.js';
import { eventually } from '../support/cluster.js';
import { codeOf, errorOf } from '../support/codes.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Longer than anything takes that does not wait for it. */
const LONG_MS = 60_000;
const SHORT_MS = 50;

/** Never accepts, and has as many connections waiting as it takes: the kernel drops what comes to begin a further one. */
async function fullListener(): Promise<AsyncDisposable & { readonly address: string }> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer();
     server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
     });`,
    { eval: true },
  );
  const [port] = (await once(worker, 'message')) as [number];
  const fillers = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  await eventually(
    () => fillers.filter((filler) => !filler.connecting).length,
    (connected) => connected >= 2,
  );
  return {
    address: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      for (const filler of fillers) filler.destroy();
      await worker.terminate();
    },
  };
}

describe('an address of an agent', () => {
  it('is host and port, IPv6 in brackets', () => {
    expect(peerAddress('10.0.42.2:7400')).to.deep.equal({ host: '10.0.42.2', port: 7400 });
    expect(peerAddress('[fd00::2]:7400')).to.deep.equal({ host: 'fd00::2', port: 7400 });
  });

  it('and a chunk at it are all that a request needs', () => {
    expect(chunkAt('10.0.42.2:7400', 'abc', 'token')).to.deep.equal({
      host: '10.0.42.2',
      port: 7400,
      path: '/chunks/abc',
      headers: { authorization: 'Bearer token' },
    });
  });
});

describe('an exchange with an agent', () => {
  let server: Server;
  let handle: Handler;

  beforeEach(async () => {
    handle = (_request, response) => {
      response.end('whole');
    };
    server = createServer((incoming, response) => {
      incoming.on('error', () => undefined);
      handle(incoming, response);
    });
    // Longer than a busy machine may pause between two requests.
    server.keepAliveTimeout = LONG_MS;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(async () => {
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });

  const begin = (options: Partial<PeerRequest> = {}): PeerExchange => {
    const { port } = server.address() as AddressInfo;
    const place = chunkAt(`127.0.0.1:${port}`, 'abc', 'token');
    const exchange = new PeerExchange(place, { method: 'GET', stallMs: LONG_MS, peer: 'node a', ...options });
    if (options.method !== 'PUT') exchange.end();
    return exchange;
  };
  const hang: Handler = (incoming) => {
    incoming.resume();
  };

  it('sends its body at the pace of the peer, and reads the answer', async () => {
    handle = (incoming, response) => {
      void replyText(incoming).then((body) => response.end(`${incoming.headers.authorization ?? ''} ${body.length}`));
    };
    const exchange = begin({ method: 'PUT' });
    for (let piece = 0; piece < 4; piece += 1) await exchange.write(Buffer.alloc(10 * KIB));
    exchange.end(Buffer.from('x'), LONG_MS);
    expect(await exchange.read(replyText)).to.equal(`Bearer token ${40 * KIB + 1}`);
  });

  it('keeps its connection in a pool when it went well, and not when it failed', async () => {
    const pool = { agent: new Agent({ keepAlive: true, maxSockets: 1 }), begin: request };
    const ports = new Set<number | undefined>();
    handle = (incoming, response) => {
      ports.add(incoming.socket.remotePort);
      response.end();
    };
    for (let turn = 0; turn < 3; turn += 1) await begin({ pool }).read(replyText);
    expect(ports.size).to.equal(1);
    handle = hang;
    expect(await codeOf(() => begin({ pool, stallMs: SHORT_MS }).read(replyText))).to.equal('deadline_exceeded');
    handle = (incoming, response) => {
      ports.add(incoming.socket.remotePort);
      response.end();
    };
    await begin({ pool }).read(replyText);
    expect(ports.size).to.equal(2);
    pool.agent.destroy();
  });

  it('waits for a place in its pool without a bound of its own: those before it have theirs', async () => {
    const pool = { agent: new Agent({ keepAlive: true, maxSockets: 1 }), begin: request };
    const held: ServerResponse[] = [];
    handle = (_incoming, response) => held.push(response);
    const first = begin({ pool }).read(replyText);
    await eventually(
      () => held.length,
      (count) => count === 1,
    );
    const second = begin({ pool, connectMs: SHORT_MS }).read(replyText);
    const ended = second.then(
      () => 'answered',
      () => 'failed',
    );
    expect(await Promise.race([ended, sleep(4 * SHORT_MS)])).to.equal(undefined);
    handle = (_incoming, response) => response.end();
    held[0]?.end();
    await first;
    expect(await ended).to.equal('answered');
    pool.agent.destroy();
  });

  it('fails with the code that the peer refuses with, and as unavailable when the refusal is none', async () => {
    handle = (_incoming, response) => {
      response.writeHead(409).end('{"code":"data_loss","error":"another checksum"}');
    };
    expect(await errorOf(() => begin().read(replyText))).to.include({ code: 'data_loss', message: 'another checksum' });
    handle = (_incoming, response) => {
      response.writeHead(500).end('<html>');
    };
    const refusal = await errorOf(() => begin().read(replyText));
    expect(refusal).to.include({ code: 'unavailable', message: 'it answered with HTTP status 500' });
  });

  it('fails as unavailable, by name, when nothing listens', async () => {
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const exchange = new PeerExchange(chunkAt(`127.0.0.1:${port}`, 'abc', 't'), {
      method: 'GET',
      stallMs: LONG_MS,
      peer: 'node a',
    });
    exchange.end();
    const error = await errorOf(() => exchange.head());
    expect(error.code).to.equal('unavailable');
    expect(error.message).to.match(/^node a does not answer: .*ECONNREFUSED/);
  });

  it('fails when the connection breaks off, before the answer or within it', async () => {
    handle = (incoming) => incoming.socket.destroy();
    expect(await codeOf(() => begin().read(replyText))).to.equal('unavailable');
    handle = (incoming, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half', () => incoming.socket.destroy());
    };
    expect(await codeOf(() => begin().read(replyText))).to.equal('unavailable');
  });

  it('fails in time when the peer is silent, before the answer, within it, and in a refusal', async () => {
    handle = hang;
    expect(await codeOf(() => begin({ stallMs: SHORT_MS }).read(replyText))).to.equal('deadline_exceeded');
    expect(await codeOf(() => begin({ answerMs: SHORT_MS }).read(replyText))).to.equal('deadline_exceeded');
    for (const status of [200, 503]) {
      handle = (_incoming, response) => {
        response.writeHead(status, { 'content-length': 100 });
        response.write('half');
      };
      expect(await codeOf(() => begin({ stallMs: SHORT_MS }).read(replyText))).to.equal('deadline_exceeded');
    }
  });

  it('fails in time when the peer accepts no connection, as one whose host has gone', async () => {
    await using full = await fullListener();
    for (const bounds of [{ stallMs: SHORT_MS }, { stallMs: LONG_MS, connectMs: SHORT_MS }]) {
      const exchange = new PeerExchange(chunkAt(full.address, 'abc', 't'), { method: 'PUT', ...bounds });
      const error = await errorOf(() => exchange.read(replyText));
      expect(error).to.include({ code: 'deadline_exceeded', message: 'no connection within 0.05 s' });
    }
  });

  it('lets go of a sender that waits for a peer that takes nothing', async () => {
    handle = () => undefined;
    const exchange = begin({ method: 'PUT', stallMs: 200 });
    const piece = Buffer.alloc(1024 * KIB);
    for (let sent = 0; sent < 100; sent += 1) {
      const wait = exchange.write(piece);
      if (wait !== undefined) await wait;
    }
    exchange.end();
    expect(await codeOf(() => exchange.read(replyText))).to.equal('deadline_exceeded');
  });

  it('is cancelled by its signal, also by one that was aborted before', async () => {
    handle = hang;
    const abort = new AbortController();
    const waiting = begin({ signal: abort.signal }).read(replyText);
    abort.abort();
    expect(await codeOf(() => waiting)).to.equal('cancelled');
    expect(await codeOf(() => begin({ signal: abort.signal }).read(replyText))).to.equal('cancelled');
  });

  it('reads no answer that is longer than any can be, and closes its connection', async () => {
    let closed: Promise<unknown> = Promise.resolve();
    handle = (_incoming, response) => {
      closed = once(response, 'close');
      response.write(Buffer.alloc(65 * KIB));
    };
    expect(await codeOf(() => begin().read(replyText))).to.equal('unavailable');
    await closed;
  });
});
