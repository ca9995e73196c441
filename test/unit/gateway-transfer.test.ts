/** The gateway's transfer core without any door: bytes in and out for an identity, over a controller that a test plays. */
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { Transfers } from '../../gateway/transfer/transfers.js';
import type { CallsFor, Identity, ReceiveOptions, Target, TransferCalls } from '../../gateway/transfer/port.js';
import { deferred } from '../../shared/async/wait.js';
import { NexusError } from '../../shared/errors.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { DownloadCatalogue } from '../../shared/transfer/port.js';
import { FakeAgent, FakeUploads, storedFile } from '../support/fake-agent.js';
import { codeOf } from '../support/codes.js';

type Scope = Parameters<CallsFor['session']>[0];

/** Answers the calls that transfers make, and records them with whom they were made for. */
class FakeCalls implements CallsFor {
  readonly calls: { readonly name: string; readonly request: Record<string, unknown>; readonly scope: Scope }[] = [];
  uploads: FakeUploads;
  /** What downloads find. */
  stored:
    | {
        readonly catalogue: DownloadCatalogue;
        readonly size: number;
        readonly chunksCount: number;
        readonly explicitSizes: boolean;
      }
    | undefined;
  received: Buffer = Buffer.alloc(0);

  constructor(private readonly agents: readonly FakeAgent[]) {
    this.uploads = new FakeUploads(agents);
  }

  get names(): string[] {
    return this.calls.map(({ name }) => name).filter((name) => name !== 'grantChunks');
  }

  store(content: Buffer, sizes: readonly number[] = []): void {
    const parts: Buffer[] = [];
    for (let at = 0; at < content.length; at += parts.at(-1)?.length ?? 0)
      parts.push(content.subarray(at, at + (sizes[parts.length] ?? CHUNK_SIZE_BYTES)));
    const catalogue = storedFile(parts, this.agents);
    this.stored = { catalogue, size: content.length, chunksCount: parts.length, explicitSizes: sizes.length > 0 };
  }

  session(scope: Scope): TransferCalls {
    const names = new Proxy({}, { get: (_, name) => name });
    const call = async (name: unknown, request: unknown): Promise<never> => {
      const given = request as Record<string, unknown>;
      this.calls.push({ name: String(name), request: given, scope });
      return (await this.#answer(String(name), given)) as never;
    };
    return { file: names, fs: names, call, callDetached: call } as unknown as TransferCalls;
  }

  async #answer(name: string, request: Record<string, unknown>): Promise<unknown> {
    if (name === 'openUpload' || name === 'openFsUpload') return await this.uploads.openUpload();
    if (name === 'grantChunks') return { grants: await this.uploads.grantChunks('', request as never) };
    if (name === 'abortUpload') {
      await this.uploads.abortUpload();
      return;
    }
    if (name === 'commitUpload') {
      const { size } = request as { size: bigint };
      const { content } = await this.uploads.commitUpload('', { ...request, size: Number(size) } as never);
      this.received = content;
      return { file: { id: 'f1', size } };
    }
    if (name === 'openDownload') {
      const { fromIndex, count } = request as { fromIndex: number; count: number };
      return { chunks: await this.#known().catalogue.chunkSources('f1', fromIndex, count, fromIndex + count) };
    }
    if (name === 'findChunks') {
      const { start, end } = request as { start: bigint; end: bigint };
      const found = await this.#known().catalogue.findChunks('f1', { start: Number(start), end: Number(end) });
      return { fromIndex: found.from, untilIndex: found.until };
    }
    if (name === 'getFile' || name === 'openFsDownload') {
      const { size, chunksCount, explicitSizes } = this.#known();
      const file = { id: 'f1', name: 'stored', size: BigInt(size), chunksCount, explicitSizes };
      return name === 'getFile' ? { file } : { file, entry: { name: 'entry' }, leaseId: 'lease' };
    }
    return {};
  }

  #known(): NonNullable<FakeCalls['stored']> {
    if (this.stored === undefined) throw new NexusError('not_found', 'there is no such file');
    return this.stored;
  }
}

const ANN: Identity = { account: 'ann', credential: 'proof', origin: { address: '192.0.2.7', requestId: 'r1' } };
const FILE: Target = { kind: 'file', name: 'a', replicas: 2 };

async function* pieces(content: Buffer, pieceBytes = 777_777): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += pieceBytes) {
    await Promise.resolve();
    yield content.subarray(at, at + pieceBytes);
  }
}

describe('the transfer core', () => {
  let agents: FakeAgent[];
  let controller: FakeCalls;
  let transfers: Transfers;
  let gone: AbortController;

  beforeEach(async () => {
    agents = await Promise.all(['a', 'b'].map((name) => FakeAgent.start(name)));
    controller = new FakeCalls(agents);
    transfers = new Transfers(controller, 1);
    gone = new AbortController();
  });
  afterEach(() => Promise.all(agents.map((agent) => agent.stop())));

  const options = (more: Partial<ReceiveOptions> = {}): ReceiveOptions => ({
    target: () => FILE,
    sizeBytes: 0,
    atMostBytes: 0,
    signal: gone.signal,
    ...more,
  });

  it('receives bytes for an identity, which every call carries', async () => {
    const content = randomBytes(CHUNK_SIZE_BYTES + 5);
    const file = await transfers.receive(pieces(content), ANN, options({ sizeBytes: content.length }));
    expect(file.id).to.equal('f1');
    expect(controller.received.equals(content)).to.equal(true);
    expect(controller.calls[0]?.request).to.deep.equal({
      name: 'a',
      replicas: 2,
      expectedSize: BigInt(content.length),
      explicitSizes: false,
    });
    for (const { scope } of controller.calls)
      expect(scope).to.include({ token: 'proof', address: '192.0.2.7', requestId: 'r1', signal: gone.signal });
    expect(controller.names).to.deep.equal(['openUpload', 'commitUpload']);
  });

  it('asks for the target with the turn, and for a place that is missing once every byte is stored', async () => {
    const target: Target = { kind: 'path', path: '', overwrite: false, parents: false, replicas: 0 };
    let received = 0;
    async function* counted(): AsyncGenerator<Buffer> {
      for await (const piece of pieces(randomBytes(3_000_000))) {
        received += piece.length;
        yield piece;
      }
    }
    const placement = (): Promise<{ path: string; overwrite: boolean; parents: boolean }> => {
      expect(received).to.equal(3_000_000);
      return Promise.resolve({ path: '/a/b', overwrite: true, parents: true });
    };
    await transfers.receive(counted(), ANN, options({ target: () => Promise.resolve(target), placement }));
    expect(controller.names).to.deep.equal(['openFsUpload', 'placeFsUpload', 'commitUpload']);
    expect(controller.calls.find(({ name }) => name === 'placeFsUpload')?.request).to.deep.equal({
      uploadId: 'upload',
      path: '/a/b',
      overwrite: true,
      parents: true,
    });
  });

  it('receives chunks of the sizes that it is given, and sends any range of them', async () => {
    const sizes = [1, CHUNK_SIZE_BYTES, 3000, 70_000];
    const edges = sizes.reduce<number[]>((ends, size) => [...ends, (ends.at(-1) ?? 0) + size], [0]);
    const content = randomBytes(edges.at(-1) ?? 0);
    for (const sizeBytes of [0, content.length]) {
      for (const agent of agents) agent.chunks.clear();
      controller.uploads = new FakeUploads(agents);
      await transfers.receive(pieces(content), ANN, options({ sizeBytes, chunkSizes: sizes }));
      expect(controller.received.equals(content)).to.equal(true);
      const chunks = agents.flatMap((agent) => [...agent.chunks]).sort(([one], [other]) => (one < other ? -1 : 1));
      expect(chunks.map(([, chunk]) => chunk.length)).to.deep.equal(sizes);
      expect(controller.uploads.calls.flatMap((call) => call.sizes ?? [])).to.deep.equal(sizes);
    }
    expect(controller.calls[0]?.request).to.deep.include({ explicitSizes: true });
    controller.store(content, sizes);
    await using opened = await transfers.open({ kind: 'file', id: 'f1' }, ANN, gone.signal);
    for (const start of edges.slice(0, -1))
      for (const end of edges.filter((edge) => edge > start)) {
        const parts: Buffer[] = [];
        await opened.assertReadable({ start, end });
        for await (const piece of opened.send({ start, end })) parts.push(Buffer.from(piece));
        expect(Buffer.concat(parts).equals(content.subarray(start, end)), `${start}-${end}`).to.equal(true);
      }
    const sources = controller.calls.filter(({ name }) => name === 'openDownload').map(({ request }) => request);
    expect(sources.filter(({ fromIndex }) => fromIndex === 3)).to.have.length(2);
  });

  it('refuses sizes that no chunk can have, and bytes behind the last one', async () => {
    const code = (chunkSizes: Iterable<number>): Promise<string> => {
      controller.uploads = new FakeUploads(agents);
      return codeOf(() => transfers.receive(pieces(Buffer.alloc(10), 3), ANN, options({ chunkSizes })));
    };
    for (const sizes of [[0], [-1], [4, 0], [1.5], [NaN], [CHUNK_SIZE_BYTES + 1], [9], []]) {
      expect(await code(sizes), String(sizes)).to.equal('invalid_argument');
      expect(controller.uploads.aborted).to.equal(1);
    }
    expect(await code([4, 6])).to.equal('accepted');
    expect(await code(new Set([9, CHUNK_SIZE_BYTES]))).to.equal('accepted');
  });

  it('undoes an upload whose bytes break off, or are not what was announced', async () => {
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      await Promise.resolve();
      throw new NexusError('deadline_exceeded', 'the body came too slowly');
    }
    const ten = (): AsyncGenerator<Buffer> => pieces(Buffer.alloc(10), 3);
    const refused = { placement: () => Promise.reject(new NexusError('invalid_argument', 'path: is missing')) };
    expect(await codeOf(() => transfers.receive(broken(), ANN, options()))).to.equal('deadline_exceeded');
    expect(await codeOf(() => transfers.receive(ten(), ANN, options({ atMostBytes: 9 })))).to.equal('invalid_argument');
    expect(await codeOf(() => transfers.receive(ten(), ANN, options({ sizeBytes: 11 })))).to.equal('invalid_argument');
    expect(await codeOf(() => transfers.receive(ten(), ANN, options(refused)))).to.equal('invalid_argument');
    expect(controller.uploads.aborted).to.equal(4);
    expect(controller.names).not.to.include('commitUpload');
  });

  it('ends an upload whose bytes do not come when it is cancelled, and gives its turn to the next', async () => {
    const waits = deferred();
    async function* silent(): AsyncGenerator<Buffer> {
      yield Buffer.alloc(10);
      waits.resolve();
      await new Promise(() => undefined);
    }
    const first = codeOf(() => transfers.receive(silent(), ANN, options()));
    await waits.promise;
    gone.abort();
    expect(await first).to.equal('cancelled');
    expect(controller.uploads.aborted).to.equal(1);
    gone = new AbortController();
    expect(await codeOf(() => transfers.receive(pieces(Buffer.alloc(10), 3), ANN, options()))).to.equal('accepted');
  });

  it('closes what the bytes and the sizes come from, however the upload ends', async () => {
    for (const outcome of ['accepted', 'invalid_argument']) {
      const closed: string[] = [];
      async function* bytes(): AsyncGenerator<Buffer> {
        try {
          for await (const piece of pieces(Buffer.alloc(10), 3)) yield piece;
        } finally {
          closed.push('bytes');
        }
      }
      function* sizes(): Generator<number> {
        try {
          yield 4;
          yield outcome === 'accepted' ? 10 : 0;
          yield 1;
        } finally {
          closed.push('sizes');
        }
      }
      controller.uploads = new FakeUploads(agents);
      expect(await codeOf(() => transfers.receive(bytes(), ANN, options({ chunkSizes: sizes() })))).to.equal(outcome);
      await Promise.resolve();
      expect(closed.sort()).to.deep.equal(['bytes', 'sizes']);
    }
  });

  it('sends content whole and in part, at the pace of its reader', async () => {
    const content = randomBytes(2 * CHUNK_SIZE_BYTES + 100);
    controller.store(content);
    const read = async (range?: { start: number; end: number }): Promise<Buffer> => {
      await using opened = await transfers.open({ kind: 'path', path: '/x' }, ANN, gone.signal);
      expect([opened.name, Number(opened.file.size)]).to.deep.equal(['entry', content.length]);
      await opened.assertReadable(range);
      const parts: Buffer[] = [];
      for await (const piece of opened.send(range)) {
        // Longer than the next chunk needs to arrive: the piece has to stay what it is.
        await new Promise((resolve) => setTimeout(resolve, 20));
        parts.push(Buffer.from(piece));
      }
      return Buffer.concat(parts);
    };
    expect((await read()).equals(content)).to.equal(true);
    const range = { start: CHUNK_SIZE_BYTES - 3, end: 2 * CHUNK_SIZE_BYTES + 4 };
    expect((await read(range)).equals(content.subarray(range.start, range.end))).to.equal(true);
    expect(controller.names.filter((name) => name === 'closeFsDownload')).to.have.length(2);
  });

  it('sends nothing of content that cannot be read, and says so first', async () => {
    controller.store(randomBytes(1000));
    for (const agent of agents) agent.chunks.clear();
    await using opened = await transfers.open({ kind: 'file', id: 'f1' }, ANN, gone.signal);
    expect(await codeOf(() => opened.send().next())).to.be.oneOf(['not_found', 'unavailable', 'data_loss']);
    expect(controller.names).not.to.include('closeFsDownload');
    controller.store(Buffer.alloc(0));
    await using empty = await transfers.open({ kind: 'file', id: 'f1' }, ANN, gone.signal);
    expect((await empty.send().next()).done).to.equal(true);
  });

  it('runs so many at once: the next reads nothing before its turn, which an early end and a cancellation free', async () => {
    controller.store(randomBytes(CHUNK_SIZE_BYTES + 1));
    const opened = await transfers.open({ kind: 'file', id: 'f1' }, ANN, gone.signal);
    const sending = opened.send();
    await sending.next();
    let isRead = false;
    async function* noticed(): AsyncGenerator<Buffer> {
      isRead = true;
      yield* pieces(Buffer.from('later'));
    }
    const leaving = new AbortController();
    const left = codeOf(() => transfers.receive(noticed(), ANN, options({ signal: leaving.signal })));
    const waiting = transfers.receive(noticed(), ANN, options());
    leaving.abort();
    expect(await left).to.equal('cancelled');
    expect(isRead).to.equal(false);
    await sending.return();
    await waiting;
    expect(controller.received.toString()).to.equal('later');
    const again = opened.send();
    await again.next();
    gone.abort();
    expect(await codeOf(() => again.next())).to.equal('cancelled');
    expect(
      await transfers.receive(pieces(Buffer.from('x')), ANN, options({ signal: leaving.signal })).catch(() => 'no'),
    ).to.equal('no');
  });
});
