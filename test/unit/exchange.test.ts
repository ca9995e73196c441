/** Many calls in one stream: a real server, a real client, and what lies between them breaking. */
import { getEventListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { expect } from 'chai';
import { GatewayEdge } from '../../controller/edge/admission.js';
import { exchangeOver } from '../../controller/edge/exchange.js';
import { serverStream, unary, type CallContext } from '../../controller/edge/handlers.js';
import type { RegisteredService } from '../../controller/edge/server.js';
import { Exchange, type CallScope } from '../../gateway/controller/exchange.js';
import { NexusError } from '../../shared/errors.js';
import { ExchangeRequest, ExchangeServiceClient } from '../../shared/gen/nexus/v1/exchange.js';
import { FileServiceService } from '../../shared/gen/nexus/v1/file.js';
import { FsServiceService } from '../../shared/gen/nexus/v1/fs.js';
import { IdentityServiceService } from '../../shared/gen/nexus/v1/identity.js';
import { MIB } from '../../shared/limits.js';
import { createLogger } from '../../shared/log.js';
import { errorOfStatus } from '../../shared/rpc/status.js';
import { eventually } from '../support/cluster.js';
import { codeOf, errorOf } from '../support/codes.js';

type Answer = (path: string, context: CallContext) => Promise<string> | string;

const log = createLogger('test', 'silent');
const scope: CallScope = { token: 'alice', address: '192.0.2.7', requestId: 'r-1' };
const { getFolderUsage } = FsServiceService;

/** A server whose one unary method answers what a test says, its edge asking for a token as the real one does. */
class ExchangeBench implements AsyncDisposable {
  #server = new Server();
  #service: RegisteredService | undefined;
  answer: Answer = (path) => path;
  streams = 0;
  readonly #client: ExchangeServiceClient;
  readonly exchange: Exchange;

  private constructor(private readonly folder: string) {
    this.#client = new ExchangeServiceClient(this.target, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': 20,
      'grpc.max_reconnect_backoff_ms': 20,
    });
    this.exchange = new Exchange(() => {
      this.streams += 1;
      return this.#client.exchange();
    });
  }

  static async start(): Promise<ExchangeBench> {
    const bench = new ExchangeBench(await mkdtemp(join(tmpdir(), 'nexus-exchange-')));
    await bench.listen();
    return bench;
  }

  get target(): string {
    return `unix:${join(this.folder, 'socket')}`;
  }

  async listen(): Promise<void> {
    const edge = new GatewayEdge(log, {
      authenticate: (token) => {
        if (token !== 'alice') throw new NexusError('unauthenticated', 'the token is not valid', { why: 'test' });
        return Promise.resolve({ username: token, email: '', role: 'user', tokenId: '', expiresAt: 1 });
      },
    });
    const fs = {
      getFolderUsage: unary(edge, async ({ path }: { path: string }, context) => {
        const said = await this.answer(path, context);
        return { path: said, files: 0n, folders: 0n, bytes: 0n };
      }),
      walkFolder: serverStream(edge, () => Promise.resolve()),
      setQuota: unary(edge, () => Promise.resolve({})),
    };
    this.#service = exchangeOver([{ proto: '', definition: FsServiceService, handlers: fs }]);
    this.#server = new Server();
    this.#server.addService(this.#service.definition, this.#service.handlers);
    await new Promise<void>((resolve, reject) => {
      this.#server.bindAsync(this.target, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  /** As in the gateway each call has a signal of its own where none is given. */
  async usage(
    path: string,
    { given = scope, signal = new AbortController().signal, deadlineMs = 60_000 } = {},
  ): Promise<string> {
    return (await this.exchange.call(getFolderUsage, { path }, given, { deadlineMs, signal })).path;
  }

  /** In order, as the controller stops. */
  async stop(): Promise<void> {
    this.#service?.close?.();
    await new Promise<void>((resolve) => {
      this.#server.tryShutdown(() => {
        resolve();
      });
    });
  }

  die(): void {
    this.#server.forceShutdown();
  }

  /** A stream of one's own, beside the exchange. */
  raw(metadata = new Metadata()): ReturnType<ExchangeServiceClient['exchange']> {
    return this.#client.exchange(metadata);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.exchange.close();
    this.#client.close();
    this.#server.forceShutdown();
    await rm(this.folder, { recursive: true, force: true });
  }
}

describe('many calls in one stream', () => {
  it('are answered each as if it were alone: with its own caller, answer and error', async () => {
    await using bench = await ExchangeBench.start();
    const seen: unknown[] = [];
    bench.answer = (path, { caller }) => {
      seen.push([caller.user, caller.address, caller.isAdministrator]);
      if (path === '/no') throw new NexusError('not_found', 'über nichts', { path, n: 1, all: ['a', 'b'] });
      if (path === '/fault') throw new TypeError('of ours');
      return path;
    };
    const results = await Promise.allSettled([
      bench.usage('/a'),
      bench.usage('/no'),
      bench.usage('/b', { given: { ...scope, token: 'mallory' } }),
      bench.usage('/c', { given: { ...scope, token: undefined, address: '198.51.100.1' } }),
      bench.usage('/fault'),
    ]);
    expect(bench.streams).to.equal(1);
    expect(results[0]).to.deep.equal({ status: 'fulfilled', value: '/a' });
    const errors = results
      .slice(1)
      .map((result) => (result.status === 'rejected' ? (result.reason as NexusError) : undefined));
    expect(errors[0]).to.include({ code: 'not_found', message: 'über nichts' });
    expect(errors[0]?.details).to.deep.equal({ path: '/no', n: 1, all: ['a', 'b'] });
    expect(errors[1]).to.include({ code: 'unauthenticated' });
    expect(errors[2]).to.include({ code: 'unauthenticated' });
    expect(errors[3]).to.include({ code: 'internal' });
    expect(seen).to.deep.equal(Array(3).fill(['alice', '192.0.2.7', false]));
  });

  it('keep to their rules', async () => {
    await using bench = await ExchangeBench.start();
    const setQuota = (): Promise<unknown> =>
      bench.exchange.call(FsServiceService.setQuota, { username: 'alice', limit: 1n }, scope, {
        deadlineMs: 5000,
        signal: new AbortController().signal,
      });
    expect(await codeOf(setQuota)).to.equal('permission_denied');
  });

  it('may be hundreds at once, of any size, answered in any order', async () => {
    await using bench = await ExchangeBench.start();
    const waiting: (() => void)[] = [];
    bench.answer = async (path) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (waiting.length === 400) for (const release of waiting.reverse()) release();
      });
      return path;
    };
    // Together far more than a message, or a stream's window, holds.
    const paths = Array.from({ length: 400 }, (_, at) => `/${at}/${'x'.repeat(at * 200)}`);
    const signals = paths.map(() => new AbortController().signal);
    const usages = paths.map((path, at) => bench.usage(path, { signal: signals[at] }));
    expect(await Promise.all(usages)).to.deep.equal(paths);
    expect(bench.streams).to.equal(1);
    const listening = signals.filter((signal) => getEventListeners(signal, 'abort').length > 0);
    expect(listening, 'listens on').to.deep.equal([]);
  });

  it('that are small do not wait behind large answers', async () => {
    await using bench = await ExchangeBench.start();
    bench.answer = (path) => (path === '/large' ? 'x'.repeat(3 * MIB) : path);
    const order: string[] = [];
    const call = async (path: string): Promise<void> => {
      await bench.usage(path);
      order.push(path);
    };
    const large = Array.from({ length: 20 }, () => call('/large'));
    // All of them have been answered, and wait to be sent or are on their way.
    await large[0];
    await call('/small');
    await Promise.all(large);
    expect(order).to.have.length(21);
    expect(order.indexOf('/small')).to.be.lessThan(10);
  });

  it('are refused one by one for what is wrong with them', async () => {
    await using bench = await ExchangeBench.start();
    const call = (method: MethodDefinition<never, never>, request: object): Promise<string> =>
      codeOf(() =>
        bench.exchange.call(method, request as never, scope, {
          deadlineMs: 5000,
          signal: new AbortController().signal,
        }),
      );
    const asUnary = (method: object): MethodDefinition<never, never> => method as MethodDefinition<never, never>;
    expect(await call(asUnary(FileServiceService.listFiles), { pageSize: 1, pageToken: '', statuses: [] })).to.equal(
      'unimplemented',
    );
    expect(await call(asUnary(IdentityServiceService.whoAmI), {})).to.equal('unimplemented');
    expect(await call(asUnary(FsServiceService.walkFolder), { path: '/', maxDepth: 1 })).to.equal('unimplemented');
    const garbled = { ...getFolderUsage, requestSerialize: () => Buffer.from([0x0a, 0xff]) };
    expect(await call(asUnary(garbled), {})).to.equal('invalid_argument');
    bench.answer = () => 'x'.repeat(5 * MIB);
    expect(await codeOf(() => bench.usage('/large'))).to.equal('resource_exhausted');
    bench.answer = (path) => path;
    expect(await bench.usage('/after')).to.equal('/after');
    expect(bench.streams).to.equal(1);
  });

  it('end for the controller, too, when nobody waits any more', async () => {
    await using bench = await ExchangeBench.start();
    let begun = 0;
    let ended = 0;
    bench.answer = (_path, { signal }) =>
      new Promise((_resolve, reject) => {
        begun += 1;
        const end = (): void => {
          ended += 1;
          reject(signal.reason as Error);
        };
        if (signal.aborted) end();
        else signal.addEventListener('abort', end);
      });
    const client = new AbortController();
    const left = bench.usage('/left', { signal: client.signal });
    await eventually(
      () => begun,
      (count) => count === 1,
    );
    client.abort();
    expect(await codeOf(() => left)).to.equal('cancelled');
    expect(await codeOf(() => bench.usage('/gone', { signal: client.signal }))).to.equal('cancelled');
    // On a machine that stalls the time may be over before the call was sent.
    for (let deadlineMs = 50; begun < 2; deadlineMs *= 2)
      expect(await codeOf(() => bench.usage('/slow', { deadlineMs }))).to.equal('deadline_exceeded');
    await eventually(
      () => ended,
      (count) => count === begun,
    );
    bench.answer = (path) => path;
    expect(await bench.usage('/after')).to.equal('/after');
    expect(bench.streams).to.equal(1);
  });

  it('never reach the controller when nobody waits any more before they are sent, however large they are', async () => {
    await using bench = await ExchangeBench.start();
    const begun: string[] = [];
    bench.answer = (path) => {
      begun.push(path.slice(0, 6));
      return path.slice(0, 6);
    };
    const client = new AbortController();
    // Each of these takes a message of its own: the last one's end could come before it.
    const paths = ['/one', '/two', '/three'].map((path) => path + 'x'.repeat(20_000));
    const left = paths.map((path) => codeOf(() => bench.usage(path, { signal: client.signal })));
    const stays = bench.usage(`/stays${'x'.repeat(20_000)}`);
    client.abort();
    expect(await Promise.all(left)).to.deep.equal(Array(3).fill('cancelled'));
    expect(await stays).to.equal('/stays');
    // Sent later, and so answered later.
    expect(await bench.usage(`/after${'x'.repeat(20_000)}`)).to.equal('/after');
    expect(begun).to.deep.equal(['/stays', '/after']);
  });

  it('fail together when the controller dies, and come through again when it is back', async () => {
    await using bench = await ExchangeBench.start();
    let running = 0;
    bench.answer = () => {
      running += 1;
      return new Promise(() => undefined);
    };
    const cut = Promise.all(['/1', '/2', '/3'].map((path) => codeOf(() => bench.usage(path))));
    await eventually(
      () => running,
      (count) => count === 3,
    );
    bench.die();
    expect(await cut).to.deep.equal(Array(3).fill('unavailable'));
    const meanwhile = await errorOf(() => bench.usage('/meanwhile'));
    expect(meanwhile).to.include({ code: 'unavailable' });
    expect(meanwhile.message).to.match(/does not answer; try again/);
    await bench.listen();
    bench.answer = (path) => path;
    expect(
      await eventually(
        () => bench.usage('/back').catch(() => ''),
        (said) => said !== '',
      ),
    ).to.equal('/back');
  });

  it('that run are answered when the controller stops, and the open stream does not hold it up', async () => {
    await using bench = await ExchangeBench.start();
    const release: (() => void)[] = [];
    bench.answer = async (path) => {
      await new Promise<void>((resolve) => release.push(resolve));
      return path;
    };
    const running = bench.usage('/running');
    await eventually(
      () => release.length,
      (count) => count === 1,
    );
    const stopped = bench.stop();
    expect(await codeOf(() => bench.usage('/late'))).to.equal('unavailable');
    release[0]?.();
    expect(await running).to.equal('/running');
    await stopped;
  });

  it('are for the gateway alone: a stream that carries a client’s address is refused', async () => {
    await using bench = await ExchangeBench.start();
    const metadata = new Metadata();
    metadata.set('nexus-client-address', '192.0.2.1');
    const stream = bench.raw(metadata);
    const refusal = new Promise((resolve) => {
      stream.once('error', (error) => {
        resolve(errorOfStatus(error as ServiceError).code);
      });
    });
    stream.resume();
    expect(await refusal).to.equal('permission_denied');
  });

  it('with an id that is in use are refused, and the one that has it goes on', async () => {
    await using bench = await ExchangeBench.start();
    const release: (() => void)[] = [];
    bench.answer = async (path) => {
      await new Promise<void>((resolve) => release.push(resolve));
      return path;
    };
    const stream = bench.raw();
    const replies: { id: number; code: string | undefined }[] = [];
    // The server's end at the end of the test.
    stream.on('error', () => undefined);
    stream.on('data', (response: { replies: { id: number; error?: { code: string } }[] }) => {
      replies.push(...response.replies.map(({ id, error }) => ({ id, code: error?.code })));
    });
    const request = Buffer.from(getFolderUsage.requestSerialize({ path: '/x' }));
    const call = { id: 7, method: getFolderUsage.path, request, token: 'alice', clientAddress: '', requestId: '' };
    stream.write(ExchangeRequest.fromPartial({ calls: [call, call] }));
    await eventually(
      () => replies.length,
      (count) => count === 1,
    );
    release[0]?.();
    await eventually(
      () => replies.length,
      (count) => count === 2,
    );
    expect(replies).to.deep.equal([
      { id: 7, code: 'invalid_argument' },
      { id: 7, code: undefined },
    ]);
    stream.end();
  });
});
