/** gRPC through the gateway: a real server in the controller's place, real clients, and what lies in between. */
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import {
  Metadata,
  type ClientDuplexStream,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { expect } from 'chai';
import { pino } from 'pino';
import { NexusError } from '../../shared/errors.js';
import { ClusterServiceClient, type WatchEventsResponse } from '../../shared/gen/nexus/v1/cluster.js';
import { IdentityServiceClient } from '../../shared/gen/nexus/v1/identity.js';
import { ImageServiceClient, ImportImageResponse } from '../../shared/gen/nexus/v1/image.js';
import { MetricsServiceClient } from '../../shared/gen/nexus/v1/metrics.js';
import { NodeServiceClient, type ExecInNodeRequest, type ExecInNodeResponse } from '../../shared/gen/nexus/v1/node.js';
import { errorOfStatus } from '../../shared/rpc/status.js';
import { eventually } from '../support/cluster.js';
import { answer } from '../support/fake-controller.js';
import { GrpcGateway } from '../support/grpc-gateway.js';

const whoAmI = (bench: GrpcGateway, headers: Readonly<Record<string, string>> = {}): Promise<unknown> => {
  const client = bench.client(IdentityServiceClient);
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return new Promise((resolve, reject) => {
    client.whoAmI({}, metadata, (error, response) => {
      if (error === null) resolve(response);
      else reject(errorOfStatus(error));
    });
  });
};

const failure = (calling: Promise<unknown>): Promise<NexusError> =>
  calling.then(
    () => new NexusError('internal', 'it was accepted'),
    (error: unknown) => error as NexusError,
  );

describe('gRPC through the gateway', () => {
  it('passes on the token, the address and the id of a call, and nothing else that a client sends along', async () => {
    const seen: Record<string, unknown>[] = [];
    const handler: UntypedHandleCall = (
      call: ServerUnaryCall<unknown, unknown>,
      done: sendUnaryData<unknown>,
    ): void => {
      seen.push(call.metadata.getMap());
      done(null, { username: 'alice', role: 'user' });
    };
    await using bench = await GrpcGateway.start({ whoAmI: handler });
    const forged = { 'nexus-client-address': '192.0.2.66', 'x-anything': 'else' };
    expect(await whoAmI(bench, { authorization: 'Bearer t', 'nexus-request-id': 'r-1', ...forged })).to.deep.include({
      username: 'alice',
    });
    await whoAmI(bench, { 'nexus-request-id': 'not an id', 'x-forwarded-for': '198.51.100.1' });
    expect(seen[0]).to.include({
      authorization: 'Bearer t',
      'nexus-client-address': '127.0.0.1',
      'nexus-request-id': 'r-1',
    });
    expect(seen[0]).not.to.have.any.keys('x-anything');
    expect(seen[1]).to.include({ 'nexus-client-address': '198.51.100.1' });
    expect(seen[1]).not.to.have.property('authorization');
    expect(seen[1]?.['nexus-request-id']).to.match(/^[0-9a-f]{16}$/);
  });

  it('refuses metadata that would change what a call means, and runs nothing', async () => {
    let calls = 0;
    await using bench = await GrpcGateway.start({
      whoAmI: answer(() => {
        calls += 1;
        return { username: 'alice', role: 'user' };
      }),
    });
    for (const [metadata, code] of [
      [{ 'nexus-as-user': 'admin' }, 'permission_denied'],
      [{ 'grpc-timeout': '0m' }, 'deadline_exceeded'],
      [{ 'grpc-timeout': 'soon' }, 'invalid_argument'],
    ] as const)
      expect((await failure(whoAmI(bench, metadata))).code, JSON.stringify(metadata)).to.equal(code);
    expect(calls).to.equal(0);
  });

  it('logs some of the calls of an address that were refused, and all that were not', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = pino(
      { level: 'info' },
      { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    const whoAmIRefuses = answer(() => {
      throw new NexusError('unauthenticated', 'log in first');
    });
    const listNodes = answer(() => ({ nodes: [] }));
    await using bench = await GrpcGateway.start({ whoAmI: whoAmIRefuses, listNodes }, undefined, {}, log);
    const refused = async (address: string): Promise<void> => {
      expect((await failure(whoAmI(bench, { 'x-forwarded-for': address }))).code).to.equal('unauthenticated');
    };
    const written = (status: string): number => lines.filter((line) => line['status'] === status).length;
    for (let count = 0; count < 40; count += 1) await refused('192.0.2.1');
    // A period may end in between, on a machine with much else to do.
    expect(written('16')).to.be.within(1, 20);
    const ofOne = written('16');
    await refused('192.0.2.2');
    expect(written('16')).to.equal(ofOne + 1);
    const metadata = new Metadata();
    metadata.set('x-forwarded-for', '192.0.2.1');
    const client = bench.client(NodeServiceClient);
    for (let count = 0; count < 20; count += 1) {
      const code = await new Promise<number>((resolve) => {
        client.listNodes({}, metadata, (error) => {
          resolve(error?.code ?? 0);
        });
      });
      expect(code).to.equal(0);
    }
    expect(written('0')).to.equal(20);
  });

  it('gives back errors as they were thrown', async () => {
    const thrown = new NexusError('resource_exhausted', 'über the quota: 5 %', { limit: 5 });
    await using bench = await GrpcGateway.start({
      whoAmI: answer(() => {
        throw thrown;
      }),
    });
    expect(await failure(whoAmI(bench))).to.deep.include({
      code: thrown.code,
      message: thrown.message,
      details: thrown.details,
    });
  });

  it('passes on streams of either side and of both', async () => {
    const pieces: number[] = [];
    await using bench = await GrpcGateway.start({
      watchEvents: ((call: ServerWritableStream<unknown, WatchEventsResponse>) => {
        for (let id = 1n; id <= 500n; id += 1n) {
          call.write({ event: { id, at: '', type: 't', subject: '', message: 'x'.repeat(2000) } });
        }
        call.end();
      }) as UntypedHandleCall,
      importImage: ((call: ServerReadableStream<{ data?: Buffer }, unknown>, done: sendUnaryData<unknown>) => {
        call.on('data', ({ data }: { data?: Buffer }) => pieces.push(data?.length ?? 0));
        call.on('end', () => {
          done(null, ImportImageResponse.fromPartial({ image: { name: 'x' } }));
        });
      }) as UntypedHandleCall,
      execInNode: ((call: ServerDuplexStream<ExecInNodeRequest, ExecInNodeResponse>) => {
        call.on('data', (message: ExecInNodeRequest) => {
          if (message.stdin !== undefined) call.write({ stdout: message.stdin });
        });
        call.on('end', () => {
          call.write({ exitCode: 7 });
          call.end();
        });
      }) as UntypedHandleCall,
    });
    const ids: bigint[] = [];
    const events = bench.client(ClusterServiceClient).watchEvents({ follow: false, afterId: 0n });
    for await (const { event } of events as AsyncIterable<WatchEventsResponse>) ids.push(event?.id ?? 0n);
    expect([ids.length, ids.at(-1)]).to.deep.equal([500, 500n]);

    const imported = await new Promise((resolve, reject) => {
      const sending = bench.client(ImageServiceClient).importImage((error: ServiceError | null, response: unknown) => {
        if (error === null) resolve(response);
        else reject(error);
      });
      for (let at = 0; at < 40; at += 1) sending.write({ data: Buffer.alloc(100_000) });
      sending.end();
    });
    expect(imported).to.have.nested.property('image.name', 'x');
    expect(pieces.reduce((sum, size) => sum + size, 0)).to.equal(4_000_000);

    const exec = bench.client(NodeServiceClient).execInNode();
    exec.write({ stdin: Buffer.from('hello') });
    const said: string[] = [];
    for await (const { stdout, exitCode } of exec as AsyncIterable<ExecInNodeResponse>) {
      said.push(stdout?.toString() ?? String(exitCode));
      if (stdout !== undefined) exec.end();
    }
    expect(said).to.deep.equal(['hello', '7']);
  });

  it('brings the status of a call that the controller ends while its client still sends', async () => {
    await using bench = await GrpcGateway.start({
      execInNode: ((call: ServerDuplexStream<ExecInNodeRequest, ExecInNodeResponse>) => {
        call.once('data', () => {
          call.write({ exitCode: 7 });
          call.end();
        });
      }) as UntypedHandleCall,
    });
    for (let round = 0; round < 20; round += 1) {
      const exec = bench.client(NodeServiceClient).execInNode();
      exec.write({ stdinEnd: true });
      const codes: (number | undefined)[] = [];
      for await (const { exitCode } of exec as AsyncIterable<ExecInNodeResponse>) codes.push(exitCode);
      expect(codes).to.deep.equal([7]);
      exec.end();
    }
    await eventually(
      () => bench.edge.running,
      (now) => now === 0,
    );
  });

  it('cancels at the controller what a client cancels, and what it leaves behind', async () => {
    let running = 0;
    let deadline: unknown;
    const execInNode = ((call: ServerDuplexStream<unknown, unknown>) => {
      running += 1;
      deadline = call.getDeadline();
      call.on('cancelled', () => (running -= 1));
      call.on('error', () => undefined);
    }) as UntypedHandleCall;
    await using bench = await GrpcGateway.start({ execInNode });
    const begin = (client: NodeServiceClient): ClientDuplexStream<ExecInNodeRequest, ExecInNodeResponse> => {
      const call = client.execInNode(new Metadata(), { deadline: Date.now() + 60_000 });
      call.on('error', () => undefined);
      call.write({ stdinEnd: true });
      return call;
    };
    const client = bench.client(NodeServiceClient);
    const first = begin(client);
    begin(client);
    await eventually(
      () => running,
      (now) => now === 2,
    );
    expect(Number(deadline)).to.be.within(Date.now() + 30_000, Date.now() + 61_000);
    first.cancel();
    await eventually(
      () => running,
      (now) => now === 1,
    );
    for (const socket of bench.sockets) socket.destroy();
    await eventually(
      () => [running, bench.edge.running],
      ([calls, passing]) => calls === 0 && passing === 0,
    );
  });

  it('keeps the figures of the cluster for /metrics, which asks from where', async () => {
    let asked = 0;
    await using bench = await GrpcGateway.start({
      getClusterMetrics: answer(() => {
        asked += 1;
        return {};
      }),
    });
    const client = bench.client(MetricsServiceClient);
    const calling = new Promise((resolve, reject) => {
      client.getClusterMetrics({}, (error, response) => {
        if (error === null) resolve(response);
        else reject(errorOfStatus(error));
      });
    });
    expect(await failure(calling)).to.include({ code: 'permission_denied' });
    expect(asked).to.equal(0);
  });

  it('says that the controller is away, and finds it again', async () => {
    await using bench = await GrpcGateway.start({ whoAmI: answer(() => ({ username: 'alice' })) });
    await bench.controller.stop();
    const error = await failure(whoAmI(bench));
    expect(error).to.include({ code: 'unavailable' });
    expect(error.message).to.equal('the controller does not answer; try again in a moment');
    await bench.controller.listen();
    expect(await whoAmI(bench)).to.include({ username: 'alice' });
  });

  it('ends what would go on for ever when it drains, and lets the rest run', async () => {
    let finish: () => void = () => undefined;
    const whoAmIHandler = ((_call: unknown, done: sendUnaryData<unknown>) => {
      finish = () => {
        done(null, { username: 'alice' });
      };
    }) as UntypedHandleCall;
    let watching = false;
    const watchEvents = (() => {
      watching = true;
    }) as UntypedHandleCall;
    await using bench = await GrpcGateway.start({ whoAmI: whoAmIHandler, watchEvents });
    const events = bench.client(ClusterServiceClient).watchEvents({ follow: true, afterId: 0n });
    const ended = once(events, 'error') as Promise<[ServiceError]>;
    const asked = whoAmI(bench);
    await eventually(
      () => bench.edge.running,
      (now) => now === 2 && watching,
    );
    bench.edge.drain();
    expect(errorOfStatus((await ended)[0])).to.include({ code: 'unavailable' });
    finish();
    expect(await asked).to.include({ username: 'alice' });
    await eventually(
      () => bench.edge.running,
      (now) => now === 0,
    );
  });

  it('takes calls of this project’s services only, and gives up on one without a message', async () => {
    await using bench = await GrpcGateway.start({});
    const session = connectHttp2(`http://127.0.0.1:${bench.port}`);
    const ask = async (headers: Record<string, string>): Promise<Record<string, unknown>> => {
      const stream = session.request({ ':method': 'POST', 'content-type': 'application/grpc', ...headers });
      const [response] = (await once(stream, 'response')) as [Record<string, unknown>];
      stream.close();
      return response;
    };
    const version = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
    for (const path of [version, '/', '/nexus.v1.NodeService', '/nexus.v1.NodeService/List/Nodes', '/nexus.v1../x']) {
      expect(await ask({ ':path': path }), path).to.include({ 'grpc-status': '12' });
    }
    const kept = session.request({ ':method': 'POST', 'content-type': 'application/grpc', ':path': '/nobody' });
    kept.resume();
    await once(kept, 'close');
    const known = { ':path': '/nexus.v1.IdentityService/WhoAmI' };
    expect(await ask({ ...known, 'content-type': 'text/plain' })).to.include({ ':status': 415 });
    expect(await ask({ ...known, ':method': 'GET' })).to.include({ ':status': 415 });
    const mute = session.request({ ':method': 'POST', 'content-type': 'application/grpc', ...known });
    const [silent] = (await once(mute, 'response')) as [Record<string, unknown>];
    expect(silent).to.include({ 'grpc-status': '4', 'nexus-code': 'deadline_exceeded' });
    session.destroy();
  });

  it('leaves HTTP/1.1 on the same port alone, byte by byte, and drops what says nothing', async () => {
    await using bench = await GrpcGateway.start({});
    const get = httpRequest({ port: bench.port, host: '127.0.0.1', path: '/' });
    get.end();
    const [response] = (await once(get, 'response')) as [NodeJS.ReadableStream & { statusCode: number }];
    expect(response.statusCode).to.equal(200);
    response.resume();
    const slow = connect(bench.port, '127.0.0.1');
    for (const byte of 'POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n') {
      slow.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    let said = '';
    for await (const data of slow) said += String(data);
    expect(said)
      .to.match(/^HTTP\/1.1 200 OK\r\n/)
      .and.include('plain');
    const silent = connect(bench.port, '127.0.0.1');
    silent.write('PRI * HT');
    await once(silent, 'close');
  });
});
