/** The gateway's port: how long it waits for clients that neither send nor take anything. */
import { once } from 'node:events';
import type { RequestListener, ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect } from 'chai';
import { Listener } from '../../gateway/listener.js';
import { Connections } from '../../shared/connections.js';
import { MIB } from '../../shared/limits.js';
import { CERTIFICATE, CERTIFICATE_KEY } from '../support/certificate.js';
import { eventually } from '../support/cluster.js';

const STALL_MS = 300;
const limits = { headerTimeoutMs: 2000, drainMs: 60_000, stallMs: STALL_MS };
const noGrpc = { accept: (socket: Socket) => void socket.destroy(), running: 0, drain: () => {}, close: () => {} };

/** A connection that was closed says nothing more: without a limit the test would wait for ever. */
const bounded = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(60_000) });

class Port implements AsyncDisposable {
  readonly sockets: Socket[] = [];
  /** Connections that the server has let go. */
  closed = 0;
  readonly #clients: Socket[] = [];

  private constructor(
    private readonly listener: Listener,
    private readonly connections: Connections,
  ) {}

  static async open(handle: RequestListener, tls?: { readonly cert: Buffer; readonly key: Buffer }): Promise<Port> {
    const connections = new Connections({ perPeer: 10, inAll: 20 });
    let port: Port | undefined = undefined as Port | undefined;
    const listener = new Listener(
      (request, response) => {
        request.socket.once('close', () => {
          if (port !== undefined) port.closed += 1;
        });
        handle(request, response);
      },
      noGrpc,
      { host: '127.0.0.1', port: 0, tls, limits, connections },
    );
    port = new Port(listener, connections);
    await listener.listen();
    return port;
  }

  client(localAddress = '127.0.0.1', request = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'): Socket {
    const socket = connect({ port: this.listener.port, host: '127.0.0.1', localAddress });
    socket.on('error', () => undefined);
    this.#clients.push(socket);
    socket.write(request);
    return socket;
  }

  /** Over TLS; answers once a request may be sent, which none is. */
  async secureClient(localAddress: string): Promise<Socket> {
    const socket = connectTls({ socket: this.client(localAddress, ''), ca: CERTIFICATE, servername: 'localhost' });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect', bounded());
    return socket;
  }

  drain(): Promise<void> {
    return this.listener.drain();
  }

  /** Connections that gave way to others. */
  get gaveWay(): number {
    return this.connections.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#clients) socket.destroy();
    await this.listener.drain();
  }
}

describe('the port of the gateway', () => {
  it('lets a client go that does not take its answer', async () => {
    await using port = await Port.open((_request, response) => {
      response.end(Buffer.alloc(64 * MIB));
    });
    port.client().pause();
    await eventually(
      () => port.closed,
      (closed) => closed === 1,
    );
  });

  it('serves one client while another holds all the connections that it can get, with and without a request', async () => {
    await using port = await Port.open((request, response) => {
      if (request.url === '/') response.end('done');
    });
    for (let at = 0; at < 15; at += 1) port.client('127.0.0.2', '');
    for (let at = 0; at < 15; at += 1) port.client('127.0.0.3', 'GET /held HTTP/1.1\r\nHost: x\r\n\r\n');
    const answer = await once(port.client('127.0.0.4'), 'data');
    expect(String(answer[0])).to.include('200 OK');
    // An idle connection gives way to a new one of its own client.
    expect(String((await once(port.client('127.0.0.2'), 'data'))[0])).to.include('200 OK');
  });

  it('bounds the connections of a client over TLS: those without a request give way, that with one stays', async () => {
    let answerHeld = (): void => undefined;
    await using port = await Port.open(
      (request, response) => {
        if (request.url === '/held') answerHeld = () => response.end('held');
        else response.end('done');
      },
      { cert: Buffer.from(CERTIFICATE), key: Buffer.from(CERTIFICATE_KEY) },
    );
    const held = await port.secureClient('127.0.0.2');
    held.write('GET /held HTTP/1.1\r\nHost: x\r\n\r\n');
    const untilHeld = answerHeld;
    await eventually(
      () => answerHeld,
      (answer) => answer !== untilHeld,
    );
    // Before the handshake they count, too.
    for (let at = 0; at < 15; at += 1) port.client('127.0.0.2', '');
    await eventually(
      () => port.gaveWay,
      (count) => count === 6,
    );
    const newest = await port.secureClient('127.0.0.2');
    newest.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String((await once(newest, 'data', bounded()))[0])).to.include('200 OK');
    answerHeld();
    expect(String((await once(held, 'data', bounded()))[0])).to.include('held');
  });

  it('lets one go that asks for nothing more', async () => {
    await using port = await Port.open((_request, response) => {
      response.end('done');
    });
    const client = port.client();
    expect(String((await once(client, 'data'))[0])).to.include('200 OK');
    await once(client.resume(), 'close');
    await eventually(
      () => port.closed,
      (closed) => closed === 1,
    );
  });

  it('waits for an answer that takes long, and gives it', async () => {
    await using port = await Port.open((_request, response) => {
      setTimeout(() => response.end('late'), 4 * STALL_MS);
    });
    const [answer] = (await once(port.client(), 'data')) as [Buffer];
    expect(answer.toString()).to.match(/^HTTP\/1\.1 200 OK[^]*late/);
  });

  it('closes the connection of an answer that a drain finds unfinished, and serves one more on another', async () => {
    const held: ServerResponse[] = [];
    await using port = await Port.open((request, response) => {
      if (request.url === '/held') held.push(response);
      else response.end('done');
    });
    const idle = port.client();
    expect(String((await once(idle, 'data'))[0])).to.include('Connection: keep-alive');
    const waiting = port.client('127.0.0.1', 'GET /held HTTP/1.1\r\nHost: x\r\n\r\n');
    const [response] = await eventually(
      () => held,
      (answers) => answers.length === 1,
    );
    const draining = port.drain();
    idle.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String((await once(idle, 'data'))[0])).to.match(/connection: close[^]*done/i);
    response?.end('late');
    expect(String((await once(waiting, 'data'))[0])).to.match(/connection: close[^]*late/i);
    await draining;
  });
});
