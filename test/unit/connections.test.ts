import { expect } from 'chai';
import { once } from 'node:events';
import { createServer, get, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { Connections } from '../../shared/connections.js';
import { LogSampler } from '../../shared/log-sampler.js';

describe('connections of a server', () => {
  let server: Server;
  let connections: Connections;
  let answer: (() => void)[];
  const sockets: Socket[] = [];
  const port = (): number => (server.address() as AddressInfo).port;
  const open = async (localAddress: string): Promise<Socket> => {
    const socket = connect({ port: port(), host: '127.0.0.1', localAddress });
    sockets.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
  const status = (localAddress: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      get({ port: port(), host: '127.0.0.1', localAddress, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });
  beforeEach(async () => {
    answer = [];
    connections = new Connections({ perPeer: 20, inAll: 50 });
    server = createServer((request, response) => {
      if (request.url === '/slow') answer.push(() => response.end());
      else response.end();
    });
    connections.watch(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.closeAllConnections();
    server.close();
  });

  it('that idle give way to new ones, those of the same peer first', async () => {
    for (let at = 0; at < 40; at += 1) await open('127.0.0.2');
    expect(await status('127.0.0.2')).to.equal(200);
    expect(await status('127.0.0.3')).to.equal(200);
    expect(connections.closed).to.be.within(20, 22);
  });

  it('of many idle peers leave room for another', async () => {
    for (let at = 0; at < 90; at += 1) await open(`127.0.0.${2 + (at % 6)}`);
    for (let at = 0; at < 5; at += 1) expect(await status('127.0.0.200')).to.equal(200);
  });

  it('that are in use are kept: the new one is closed instead', async () => {
    const slow = Array.from({ length: 20 }, async () => {
      const socket = await open('127.0.0.2');
      socket.write('GET /slow HTTP/1.1\r\nhost: x\r\n\r\n');
      return socket;
    });
    await Promise.all(slow);
    while (answer.length < 20) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await status('127.0.0.2').catch((error: unknown) => (error as NodeJS.ErrnoException).code)).to.equal(
      'ECONNRESET',
    );
    expect(await status('127.0.0.3')).to.equal(200);
    for (const end of answer) end();
    const [reply] = (await once((await slow[0])!, 'data')) as [Buffer];
    expect(reply.toString()).to.match(/^HTTP\/1.1 200/);
  });
});

describe('lines that strangers cause', () => {
  it('are logged in part, and with a count of those that were left out', () => {
    let now = 0;
    const sampler = new LogSampler(() => now, { linesPerPeriod: 2, periodMs: 1000, peers: 2 });
    expect(Array.from({ length: 5000 }, () => sampler.admit('a')).filter((seen) => seen !== undefined)).to.have.length(
      2,
    );
    expect(sampler.admit('b')).to.deep.equal({ leftOut: 0 });
    now = 1000;
    expect(sampler.admit('a')).to.deep.equal({ leftOut: 4998 });
  });

  it('of peers without number are bounded in all', () => {
    const sampler = new LogSampler(() => 0, { linesPerPeriod: 2, periodMs: 1000, peers: 10 });
    const admitted = Array.from({ length: 5000 }, (_, at) => sampler.admit(`peer ${at}`)).filter(Boolean);
    expect(admitted).to.have.length(12);
  });
});
