import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { ConnectionLost } from '../../shared/rpc/calls.js';
import { patiently } from '../../shared/rpc/file-catalogue.js';
import { streamSource } from '../../shared/transfer/source.js';
import { uploadFile } from '../../shared/transfer/upload.js';
import { codeOf } from '../support/codes.js';
import { FakeAgent, FakeUploads, refuse, type Committed } from '../support/fake-agent.js';

const SMALL_BYTES = 1000;

async function* pieces(content: Buffer, pieceBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += pieceBytes) {
    await Promise.resolve();
    yield content.subarray(at, at + pieceBytes);
  }
}

describe('an upload', () => {
  let agents: FakeAgent[];
  let uploads: FakeUploads;
  const cancel = { now: new AbortController() };

  beforeEach(async () => {
    agents = await Promise.all(['a', 'b', 'c'].map((name) => FakeAgent.start(name)));
    uploads = new FakeUploads(agents);
    cancel.now = new AbortController();
  });
  afterEach(() => Promise.all(agents.map((agent) => agent.stop())));

  const send = (content: Buffer, expectedSize = content.length): Promise<Committed> =>
    uploadFile(uploads, {
      name: 'file',
      replicas: 1,
      expectedSize,
      source: streamSource(pieces(content, 777_777)),
      signal: cancel.now.signal,
    });
  const failureOf = async (content: Buffer): Promise<NexusError> =>
    send(content).then(
      () => expect.fail('the upload should have failed'),
      (error: unknown) => error as NexusError,
    );

  for (const size of [0, 1, CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES + 1, 3 * CHUNK_SIZE_BYTES]) {
    it(`of ${size} bytes arrives whole, whether the size was known or not`, async () => {
      const content = randomBytes(size);
      for (const expectedSize of [size, 0]) {
        uploads = new FakeUploads(agents);
        const stored = await send(content, expectedSize);
        expect(stored.content.equals(content)).to.be.true;
        expect(stored).to.include({ size, chunksCount: Math.ceil(size / CHUNK_SIZE_BYTES) });
        expect(uploads.aborted).to.equal(0);
      }
    });
  }

  it('of explicit sizes is cut where they say, and asks for each chunk with its size', async () => {
    const sizes = [1, 5000, CHUNK_SIZE_BYTES, 3];
    const upload = (content: Buffer): Promise<Committed> =>
      uploadFile(uploads, {
        name: 'file',
        replicas: 1,
        expectedSize: 0,
        chunkSizes: sizes,
        source: streamSource(pieces(content, 777_777)),
        signal: cancel.now.signal,
      });
    const content = randomBytes(5004 + CHUNK_SIZE_BYTES);
    const stored = await upload(content);
    expect(stored.content.equals(content)).to.be.true;
    expect(stored.chunksCount).to.equal(4);
    const asked = (): unknown[] => uploads.calls.filter(({ count }) => count > 0).map((call) => call.sizes);
    expect(asked()).to.deep.equal(sizes.map((size) => [size]));
    uploads = new FakeUploads(agents);
    expect((await upload(content.subarray(0, 4000))).chunksCount, 'a source that ends early').to.equal(2);
    expect(asked()).to.deep.equal([[1], [3999]]);
    for (const size of [0, 1.5, CHUNK_SIZE_BYTES + 1]) {
      uploads = new FakeUploads(agents);
      const wrong = { name: 'file', replicas: 1, expectedSize: 0, chunkSizes: [size], signal: cancel.now.signal };
      const refused = await uploadFile(uploads, { ...wrong, source: streamSource(pieces(content, 777)) }).catch(
        (error: unknown) => error as NexusError,
      );
      expect(refused, String(size)).to.include({ code: 'invalid_argument' });
    }
    uploads = new FakeUploads(agents);
    const failure = await upload(Buffer.concat([content, content])).catch((error: unknown) => error as NexusError);
    expect(failure).to.include({ code: 'invalid_argument' });
    expect(uploads.aborted).to.equal(1);
  });

  it('asks for no more grants than a file of known size has chunks', async () => {
    await send(randomBytes(3 * CHUNK_SIZE_BYTES));
    expect(uploads.calls.reduce((sum, call) => sum + call.count, 0)).to.equal(3);
  });

  it('gives signs of life while its source has nothing, and none when it has ended', async () => {
    uploads.openUpload = () => Promise.resolve({ uploadId: 'upload', leaseMs: 100 });
    const signs = (): number => uploads.calls.filter(({ count, receipts }) => count + receipts.length === 0).length;
    async function* slowly(): AsyncGenerator<Buffer> {
      yield Buffer.from('a');
      while (signs() < 3) await new Promise((resolve) => setTimeout(resolve, 10));
      yield Buffer.from('b');
    }
    const signal = new AbortController().signal;
    const request = { name: 'file', replicas: 1, expectedSize: 0, source: streamSource(slowly()), signal };
    expect((await uploadFile(uploads, request)).content.toString()).to.equal('ab');
    const atEnd = uploads.calls.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(uploads.calls).to.have.length(atEnd);
  });

  it('ends when a sign of life is told that the upload is gone', async () => {
    uploads.openUpload = () => Promise.resolve({ uploadId: 'upload', leaseMs: 100 });
    let isGone = false;
    uploads.beforeGrant = ({ count }) => {
      if (count === 0) {
        isGone = true;
        throw new NexusError('not_found', 'there is no such upload');
      }
    };
    async function* slowly(): AsyncGenerator<Buffer> {
      while (!isGone) await new Promise((resolve) => setTimeout(resolve, 10));
      yield Buffer.from('b');
    }
    const signal = new AbortController().signal;
    const request = { name: 'file', replicas: 1, expectedSize: 0, source: streamSource(slowly()), signal };
    const failure: unknown = await uploadFile(uploads, request).catch((error: unknown) => error);
    expect(failure).to.include({ code: 'not_found' });
    expect(uploads.aborted).to.equal(1);
  });

  it('places a chunk elsewhere when its node fails', async () => {
    const [broken] = agents;
    broken!.misbehave = (_request, response) => {
      response.destroy();
      return true;
    };
    const content = randomBytes(SMALL_BYTES);
    expect((await send(content)).content.equals(content)).to.be.true;
    expect(uploads.calls.at(-1)?.retry).to.deep.equal([{ index: 0, failedNodeIds: ['id-of-a'] }]);
    expect(uploads.aborted).to.equal(0);
  });

  it('is whole with fewer copies when one is stored and the nodes for the others fail', async () => {
    const [whole, broken, alsoBroken] = agents;
    whole!.failedNodes = ['id-of-gone'];
    for (const agent of [broken!, alsoBroken!]) {
      agent.misbehave = (_request, response) => {
        response.destroy();
        return true;
      };
    }
    const content = randomBytes(SMALL_BYTES);
    // Until no other place is left, and until the attempts are used up.
    for (const others of [[broken!], [broken!, alsoBroken!]]) {
      uploads = new FakeUploads([whole!, ...others]);
      expect((await send(content)).content.equals(content)).to.be.true;
      expect(uploads.aborted).to.equal(0);
      expect(uploads.calls.at(1)?.retry).to.deep.equal([{ index: 0, failedNodeIds: ['id-of-gone'] }]);
      expect(uploads.calls.at(2)?.retry).to.deep.equal([{ index: 0, failedNodeIds: ['id-of-b'] }]);
    }
  });

  it('is aborted and names chunk, node and cause when no node takes a chunk', async () => {
    for (const agent of agents) {
      agent.misbehave = (_request, response) => {
        refuse(response, 429, { error: 'the volume is full', code: 'resource_exhausted' });
        return true;
      };
    }
    const failure = await failureOf(randomBytes(SMALL_BYTES));
    expect(failure).to.include({ code: 'resource_exhausted' });
    expect(failure.message).to.match(/chunk 0 to node [abc]: the volume is full/);
    expect(uploads.aborted).to.equal(1);
  });

  it('that is cancelled in the middle is aborted', async () => {
    for (const agent of agents) {
      agent.misbehave = () => {
        cancel.now.abort(new Error('Ctrl-C'));
        return true;
      };
    }
    expect(await failureOf(randomBytes(SMALL_BYTES))).to.include({ code: 'cancelled' });
    expect(uploads.aborted).to.equal(1);
  });

  it('keeps the receipts that went with a request for grants which failed and were not needed', async () => {
    uploads.beforeGrant = () => {
      if (uploads.calls.length > 1) throw new NexusError('resource_exhausted', 'no room for so many chunks');
    };
    // Eight grants come first; the ninth would only be needed by a ninth chunk.
    const content = randomBytes(6 * CHUNK_SIZE_BYTES + 1);
    const stored = await send(content, 0);
    expect(uploads.calls.length, 'requests ahead').to.be.greaterThan(1);
    expect(stored.content.equals(content)).to.be.true;
  });

  it('does not commit while receipts are on their way with a request for grants', async () => {
    uploads.beforeGrant = () =>
      uploads.calls.length === 1 ? undefined : new Promise((resolve) => setTimeout(resolve, 300));
    const content = randomBytes(6 * CHUNK_SIZE_BYTES + 1);
    expect((await send(content, 0)).content.equals(content)).to.be.true;
  });

  describe('whose controller is away', () => {
    let nowMs = 0;
    const clock: Clock = {
      now: () => nowMs,
      monotonic: () => nowMs,
      sleep: (ms) => {
        nowMs += ms;
        return Promise.resolve();
      },
    };
    const away = (): Promise<never> => Promise.reject(new ConnectionLost('it ended', undefined));
    beforeEach(() => {
      nowMs = 0;
    });

    it('asks it again until it is back', async () => {
      expect(await patiently(() => (nowMs < 29_000 ? away() : Promise.resolve('granted')), clock)).to.equal('granted');
    });

    it('fails with what was last said after half a minute, and at once where it is refused', async () => {
      expect(await codeOf(() => patiently(away, clock))).to.equal('unavailable');
      expect(nowMs).to.equal(30_000);
      const refused = (): Promise<never> => Promise.reject(new NexusError('unavailable', 'no node has room'));
      expect(await codeOf(() => patiently(refused, clock))).to.equal('unavailable');
      expect(nowMs).to.equal(30_000);
    });
  });
});
