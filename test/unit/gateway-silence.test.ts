/** HTTP/2 connections whose clients say nothing, or have gone without a word, and more of them than there may be. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { credentials, Metadata, type ServerWritableStream } from '@grpc/grpc-js';
import { expect } from 'chai';
import { ClusterServiceClient, type WatchEventsResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { IdentityServiceClient } from '../../shared/gen/nexus/v1/identity.js';
import { eventually } from '../support/cluster.js';
import { answer } from '../support/fake-controller.js';
import { GrpcGateway } from '../support/grpc-gateway.js';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const plain = undefined;

const closed = async (socket: Socket): Promise<void> => {
  if (!socket.destroyed) await once(socket, 'close');
};
const call = (client: IdentityServiceClient): Promise<unknown> =>
  new Promise((resolve, reject) => {
    client.whoAmI({}, new Metadata(), { deadline: Date.now() + 5000 }, (error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
  });

describe('HTTP/2 connections to the gateway', () => {
  const sockets: Socket[] = [];
  const silent = (port: number, localAddress = '127.0.0.1'): Socket => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(PREFACE);
    socket.write(EMPTY_SETTINGS);
    return socket;
  };
  const whoAmI = answer(() => ({ username: 'alice', role: 'user' }));
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });

  it('without a call are closed, whether their clients take the hint or not', async () => {
    await using bench = await GrpcGateway.start({ whoAmI }, plain, { firstCallMs: 100, answerMs: 100 });
    const reading = silent(bench.port).resume();
    const deaf = silent(bench.port);
    deaf.pause();
    await closed(reading);
    await eventually(
      () => bench.sockets,
      (now) => now.length === 2 && now.every((socket) => socket.destroyed),
    );
  });

  it('are closed when nothing more is called, and a client that comes again is served', async () => {
    await using bench = await GrpcGateway.start({ whoAmI }, plain, { idleMs: 100, answerMs: 100 });
    const client = bench.client(IdentityServiceClient);
    expect(await call(client)).to.include({ username: 'alice' });
    await closed(bench.sockets[0]!);
    expect(await call(client)).to.include({ username: 'alice' });
    expect(bench.sockets).to.have.length(2);
  });

  it('stay while a call runs', async () => {
    let end = (): void => undefined;
    const watchEvents = (stream: ServerWritableStream<unknown, WatchEventsResponse>): void => {
      stream.write({ event: { id: 1n, at: '', type: 't', subject: 's', message: 'm' } });
      end = () => stream.end();
    };
    // A busy machine answers a ping late; that is another test.
    const bounds = { idleMs: 50, firstCallMs: 50, pingMs: 50, answerMs: 5000 };
    await using bench = await GrpcGateway.start({ watchEvents }, plain, bounds);
    const stream = bench.client(ClusterServiceClient).watchEvents({ follow: true, afterId: 0n });
    stream.on('error', () => undefined);
    await once(stream, 'data');
    // Several pings and idle times.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(bench.sockets[0]?.destroyed).to.equal(false);
    end();
    await once(stream, 'end');
    await closed(bench.sockets[0]!);
  });

  it('whose client has gone without a word are closed, and their calls end at the controller', async () => {
    let isCancelled = false;
    const watchEvents = (stream: ServerWritableStream<unknown, WatchEventsResponse>): void => {
      stream.write({ event: { id: 1n, at: '', type: 't', subject: 's', message: 'm' } });
      stream.once('cancelled', () => {
        isCancelled = true;
      });
    };
    await using bench = await GrpcGateway.start({ watchEvents }, plain, { pingMs: 100, answerMs: 100 });
    const wire = await Wire.to(bench.port);
    const client = new ClusterServiceClient(`127.0.0.1:${wire.port}`, credentials.createInsecure());
    try {
      const stream = client.watchEvents({ follow: true, afterId: 0n });
      stream.on('error', () => undefined);
      await once(stream, 'data');
      wire.cut();
      await closed(bench.sockets[0]!);
      await eventually(
        () => isCancelled,
        (now) => now,
      );
    } finally {
      client.close();
      wire.close();
    }
  });

  it('whose controller hangs have their calls ended, with a word about it', async () => {
    await using bench = await GrpcGateway.start({}, plain, { pingMs: 100, answerMs: 300 });
    await bench.controller.stop();
    // Accepted, and never answered.
    const hanging = createServer((socket) => sockets.push(socket)).listen(bench.controller.socket);
    await once(hanging, 'listening');
    try {
      const stream = bench.client(ClusterServiceClient).watchEvents({ follow: true, afterId: 0n });
      const [error] = (await once(stream.resume(), 'error', { signal: AbortSignal.timeout(60_000) }).catch(
        (thrown: unknown) => [thrown],
      )) as [Error];
      expect(error.message).to.include('the controller does not answer');
    } finally {
      hanging.close();
    }
  });

  it('are as many as may be, and no more', async () => {
    await using bench = await GrpcGateway.start({ whoAmI }, plain, { connections: 2 });
    const [one, two] = [silent(bench.port), silent(bench.port)];
    await Promise.all([once(one, 'data'), once(two, 'data')]);
    await closed(silent(bench.port).resume());
    expect([one.destroyed, two.destroyed]).to.deep.equal([false, false]);
    one.destroy();
    await closed(bench.sockets[0]!);
    expect(await call(bench.client(IdentityServiceClient))).to.include({ username: 'alice' });
  });

  it('of one client are only so many, and leave room for another', async () => {
    await using bench = await GrpcGateway.start({ whoAmI }, plain, { connectionsPerPeer: 2 });
    const mine = [silent(bench.port), silent(bench.port)];
    await Promise.all(mine.map((socket) => once(socket, 'data')));
    await closed(silent(bench.port).resume());
    await once(silent(bench.port, '127.0.0.2'), 'data');
    expect(mine.some(({ destroyed }) => destroyed)).to.equal(false);
  });
});

/** What lies between two machines, until it is cut: then nothing comes through, and neither side is told. */
class Wire {
  readonly #ends: Socket[] = [];

  private constructor(private readonly server: Server) {}

  static async to(port: number): Promise<Wire> {
    const server = createServer();
    const wire = new Wire(server);
    server.on('connection', (near) => {
      const far = connect(port, '127.0.0.1');
      for (const end of [near, far]) end.on('error', () => undefined);
      near.pipe(far);
      far.pipe(near);
      wire.#ends.push(near, far);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return wire;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  cut(): void {
    for (const end of this.#ends) end.unpipe().pause();
  }

  close(): void {
    for (const end of this.#ends) end.destroy();
    this.server.close();
  }
}
