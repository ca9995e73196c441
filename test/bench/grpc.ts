/**
 * What the gateway's own ways of carrying gRPC save against @grpc/grpc-js as it comes: many calls in one stream
 * (gateway/controller/exchange.ts) against a call each, and the proxy that parses nothing (gateway/doors/grpc) against
 * one made of a grpc-js server and client. Client, gateway and controller are all in this process: the figures are
 * processor time, which other load of the machine hardly changes.
 */
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerReadableStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { Exchange } from '../../gateway/controller/exchange.js';
import { ExchangeServiceClient } from '../../shared/gen/nexus/v1/exchange.js';
import { IdentityServiceClient, IdentityServiceService } from '../../shared/gen/nexus/v1/identity.js';
import { ImageServiceClient, ImageServiceService } from '../../shared/gen/nexus/v1/image.js';
import { KIB, MIB } from '../../shared/limits.js';
import { AUTHORIZATION_METADATA, CLIENT_ADDRESS_METADATA, REQUEST_ID_METADATA } from '../../shared/rpc/status.js';
import { answer } from '../support/fake-controller.js';
import { GrpcGateway } from '../support/grpc-gateway.js';
import { median, print } from './figures.js';

const RUNS = 3;
const CALLS = 1000;
const AT_ONCE = 20;
const STREAM_BYTES = 16 * MIB;
const PIECE_BYTES = 64 * KIB;
const SCOPE = { token: 'token', address: '192.0.2.7', requestId: 'r-1' };

export async function benchGrpc(): Promise<void> {
  await using gateway = await GrpcGateway.start({
    whoAmI: answer(() => ({ username: 'bench', role: 'user', email: '', tokenId: '', expiresAt: '' })),
    importImage: ((call: ServerReadableStream<unknown, unknown>, done: sendUnaryData<unknown>) => {
      call
        .on('data', () => undefined)
        .once('end', () => {
          done(null, {});
        });
    }) as never,
  });
  const { socket } = gateway.controller;
  const proxy = await PlainProxy.start(`unix:${socket}`);
  const channel = credentials.createInsecure();
  const direct = new IdentityServiceClient(`unix:${socket}`, channel);
  const exchanging = new ExchangeServiceClient(`unix:${socket}`, channel);
  const exchange = new Exchange(() => exchanging.exchange());
  const { whoAmI } = IdentityServiceService;
  const until = { deadlineMs: 60_000, signal: undefined };
  const through = gateway.client(IdentityServiceClient);
  const throughPlain = new IdentityServiceClient(proxy.address, channel);
  const images = gateway.client(ImageServiceClient);
  const imagesPlain = new ImageServiceClient(proxy.address, channel);
  const imagesDirect = new ImageServiceClient(`unix:${socket}`, channel);
  try {
    const calls = await compared({
      one: () => manyCalls(() => exchange.call(whoAmI, {}, SCOPE, until)),
      own: () => manyCalls(() => called(direct)),
    });
    const perCall = (ms: number): string => `${((ms / CALLS) * 1000).toFixed(0)} us`;
    print(
      `a call in the exchange: ${perCall(calls.one)} of processor time at both ends, ` +
        `a gRPC call of its own ${perCall(calls.own)}: ${(calls.own / calls.one).toFixed(2)} x`,
    );
    const unary = await compared({
      direct: () => manyCalls(() => called(direct)),
      proxied: () => manyCalls(() => called(through)),
      plain: () => manyCalls(() => called(throughPlain)),
    });
    const streams = await compared({
      direct: () => sent(imagesDirect),
      proxied: () => sent(images),
      plain: () => sent(imagesPlain),
    });
    for (const [what, { direct: none, proxied, plain }, shown] of [
      ['a call', unary, perCall],
      [`${STREAM_BYTES / MIB} MiB in one call`, streams, (ms: number) => `${ms.toFixed(0)} ms`],
    ] as const)
      print(
        `${what} through the proxy: ${shown(proxied - none)} of processor time more than without one, ` +
          `through one of grpc-js ${shown(plain - none)}: ${((plain - none) / (proxied - none)).toFixed(2)} x`,
      );
  } finally {
    exchange.close();
    for (const client of [direct, exchanging, throughPlain, imagesPlain, imagesDirect]) client.close();
    proxy.close();
  }
}

/** Processor time of each, ms: the median of runs that take turns, after one that nobody counts. */
async function compared<Name extends string>(ways: Record<Name, () => Promise<void>>): Promise<Record<Name, number>> {
  const times = new Map<string, number[]>();
  for (let run = 0; run <= RUNS; run += 1)
    for (const [name, work] of Object.entries<() => Promise<void>>(ways)) {
      const before = process.cpuUsage();
      await work();
      const { user, system } = process.cpuUsage(before);
      if (run > 0) times.set(name, [...(times.get(name) ?? []), (user + system) / 1000]);
    }
  return Object.fromEntries([...times].map(([name, each]) => [name, median(each)])) as Record<Name, number>;
}

async function manyCalls(call: () => Promise<unknown>): Promise<void> {
  const next = Array.from({ length: CALLS }, () => call);
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let work = next.pop(); work !== undefined; work = next.pop()) await work();
    }),
  );
}

function metadata(): Metadata {
  const made = new Metadata();
  made.set(AUTHORIZATION_METADATA, `Bearer ${SCOPE.token}`);
  made.set(CLIENT_ADDRESS_METADATA, SCOPE.address);
  made.set(REQUEST_ID_METADATA, SCOPE.requestId);
  return made;
}

const called = (client: IdentityServiceClient): Promise<unknown> =>
  new Promise((resolve, reject) => {
    client.whoAmI({}, metadata(), { deadline: Date.now() + 60_000 }, (error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
  });

const sent = (client: ImageServiceClient): Promise<void> =>
  new Promise((resolve, reject) => {
    const stream = client.importImage(metadata(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
    const piece = { data: Buffer.alloc(PIECE_BYTES) };
    let left = STREAM_BYTES / PIECE_BYTES;
    const next = (): void => {
      while (left > 0) {
        left -= 1;
        if (!stream.write(piece)) {
          stream.once('drain', next);
          return;
        }
      }
      stream.end();
    };
    next();
  });

/** What the proxy would be with grpc-js: messages stay bytes, and each kind of call is passed on by a client. */
class PlainProxy {
  private constructor(
    private readonly server: Server,
    private readonly client: Client,
    readonly address: string,
  ) {}

  static async start(target: string): Promise<PlainProxy> {
    const client = new Client(target, credentials.createInsecure());
    const asBytes = (bytes: Buffer): Buffer => bytes;
    const raw = {
      requestSerialize: asBytes,
      requestDeserialize: asBytes,
      responseSerialize: asBytes,
      responseDeserialize: asBytes,
    };
    const server = new Server();
    const { whoAmI } = IdentityServiceService;
    const { importImage } = ImageServiceService;
    server.addService(
      { whoAmI: { ...whoAmI, ...raw }, importImage: { ...importImage, ...raw } },
      {
        whoAmI: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
          const options = { deadline: call.getDeadline() };
          client.makeUnaryRequest(
            whoAmI.path,
            asBytes,
            asBytes,
            call.request,
            metadata(),
            options,
            (error, response) => {
              done(error, response);
            },
          );
        },
        importImage: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
          const out = client.makeClientStreamRequest(
            importImage.path,
            asBytes,
            asBytes,
            metadata(),
            (error: Parameters<sendUnaryData<Buffer>>[0], response?: Buffer) => {
              done(error, response);
            },
          );
          call.pipe(out as unknown as NodeJS.WritableStream);
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    return new PlainProxy(server, client, `127.0.0.1:${port}`);
  }

  close(): void {
    this.client.close();
    this.server.forceShutdown();
  }
}
