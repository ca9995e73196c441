import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { NexusError } from '../../shared/errors.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { downloadFile } from '../../shared/transfer/download.js';
import type { DownloadCatalogue } from '../../shared/transfer/port.js';
import { verifyFile } from '../../shared/transfer/verify.js';
import { FakeAgent, md5Of, storedFile } from '../support/fake-agent.js';

const partsOf = (count: number, bytes = 1000): Buffer[] => Array.from({ length: count }, () => randomBytes(bytes));

describe('a download', () => {
  let agents: FakeAgent[];
  let delivered: Buffer[];
  let cancel: AbortController;

  beforeEach(async () => {
    agents = await Promise.all(['a', 'b'].map((name) => FakeAgent.start(name)));
    delivered = [];
    cancel = new AbortController();
  });
  afterEach(() => Promise.all(agents.map((agent) => agent.stop())));

  const fetch = (catalogue: DownloadCatalogue, chunksCount: number): Promise<void> =>
    downloadFile(catalogue, {
      fileId: 'file',
      hasExplicitSizes: false,
      chunksCount,
      // The buffer is used again, so what is kept must be a copy.
      deliver: async (data) => void delivered.push(Buffer.from(data)),
      signal: cancel.signal,
    });
  const failureOf = (catalogue: DownloadCatalogue, chunksCount: number): Promise<NexusError> =>
    fetch(catalogue, chunksCount).then(
      () => expect.fail('the download should have failed'),
      (error: unknown) => error as NexusError,
    );

  it('delivers in order even when the first chunk comes last', async () => {
    const parts = partsOf(5);
    let held = true;
    agents[0]!.misbehave = async (request) => {
      if (held && request.url?.endsWith('0') === true) {
        held = false;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return false;
    };
    await fetch(storedFile(parts, [agents[0]!]), parts.length);
    expect(Buffer.concat(delivered).equals(Buffer.concat(parts))).to.be.true;
  });

  it('reads more chunks than one page of the catalogue has', async () => {
    const parts = partsOf(130, 10);
    await fetch(storedFile(parts, agents), parts.length);
    expect(Buffer.concat(delivered).equals(Buffer.concat(parts))).to.be.true;
  });

  it('of a file without chunks delivers nothing', async () => {
    await fetch(storedFile([], agents), 0);
    expect(delivered).to.deep.equal([]);
  });

  it('takes the next replica when one is damaged, and when a node is dead', async () => {
    const parts = partsOf(2);
    const file = storedFile(parts, agents);
    agents[0]!.chunks.set(file.sources[0]!.chunkId, randomBytes(1000));
    await fetch(file, 2);
    await agents.shift()!.stop();
    await fetch(file, 2);
    expect(Buffer.concat(delivered).equals(Buffer.concat([...parts, ...parts]))).to.be.true;
  });

  it('delivers nothing of a damaged chunk and names chunk, node and both checksums', async () => {
    const parts = partsOf(2);
    const file = storedFile(parts, [agents[0]!]);
    const { chunkId, md5 } = file.sources[1]!;
    const damaged = randomBytes(1000);
    agents[0]!.chunks.set(chunkId, damaged);
    const failure = await failureOf(file, 2);
    expect(failure).to.include({ code: 'data_loss' });
    for (const part of ['chunk 1', chunkId, 'node a', md5, md5Of(damaged)]) expect(failure.message).to.include(part);
    expect(delivered.map(md5Of)).to.deep.equal([md5Of(parts[0]!)]);
  });

  it('refuses a chunk that is longer than any chunk can be', async () => {
    const file = storedFile(partsOf(1), [agents[0]!]);
    agents[0]!.chunks.set(file.sources[0]!.chunkId, Buffer.alloc(CHUNK_SIZE_BYTES + 1));
    expect(await failureOf(file, 1)).to.include({ code: 'data_loss' });
  });

  it('refuses a chunk that breaks off', async () => {
    const file = storedFile(partsOf(1), [agents[0]!]);
    agents[0]!.misbehave = (_request, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write(Buffer.alloc(10), () => response.destroy());
      return true;
    };
    expect(await failureOf(file, 1)).to.include({ code: 'unavailable' });
    expect(delivered).to.deep.equal([]);
  });

  it('says that it is unavailable when no node answers', async () => {
    const file = storedFile(partsOf(1), [agents[0]!]);
    await agents.shift()!.stop();
    const failure = await failureOf(file, 1);
    expect(failure).to.include({ code: 'unavailable' });
    expect(failure.message).to.include('node a');
  });

  it('of a chunk that is gone from every node is a loss, the first time too', async () => {
    const file = storedFile(partsOf(1), agents);
    for (const agent of agents) agent.chunks.clear();
    expect(await failureOf(file, 1)).to.include({ code: 'data_loss' });
    await agents.pop()!.stop();
    expect(await failureOf(file, 1)).to.include({ code: 'unavailable' });
  });

  it('of a file with a hole names the ranges that may be whole', async () => {
    const file = storedFile(partsOf(3), [agents[0]!]);
    agents[0]!.chunks.delete(file.sources[1]!.chunkId);
    const ranges = `--range 0-${CHUNK_SIZE_BYTES - 1} or ${2 * CHUNK_SIZE_BYTES}-`;
    expect(inCommandWords(await failureOf(file, 3))).to.include(ranges);
    const partial: DownloadCatalogue = { ...file, chunkSources: () => Promise.resolve(file.sources.slice(0, 1)) };
    expect(inCommandWords(await failureOf(partial, 3)))
      .to.include('is not in the catalogue')
      .and.include(ranges);
  });

  it('of a range asks for nothing behind it, which may be lost', async () => {
    const parts = partsOf(3, CHUNK_SIZE_BYTES);
    const file = storedFile(parts, [agents[0]!]);
    const asked: [number, number][] = [];
    const chunkSources: DownloadCatalogue['chunkSources'] = (id, from, count, until) => {
      asked.push([from, count]);
      return file.chunkSources(id, from, count, until);
    };
    await downloadFile(
      { ...file, chunkSources },
      {
        fileId: 'file',
        hasExplicitSizes: false,
        chunksCount: 3,
        range: { start: 5, end: CHUNK_SIZE_BYTES + 5 },
        deliver: async (data) => void delivered.push(Buffer.from(data)),
        signal: cancel.signal,
      },
    );
    expect(asked).to.deep.equal([[0, 2]]);
    expect(Buffer.concat(delivered).length).to.equal(CHUNK_SIZE_BYTES);
  });

  it('of a range in chunks of explicit sizes has exactly those bytes', async () => {
    const parts = [1, 40, 7, 300].map((size) => randomBytes(size));
    const content = Buffer.concat(parts);
    const file = storedFile(parts, agents);
    for (const [start, end] of [
      [0, 1],
      [0, 41],
      [1, 41],
      [40, 42],
      [41, 48],
      [47, 49],
      [48, 348],
      [0, 348],
    ] as const) {
      delivered = [];
      await downloadFile(file, {
        fileId: 'file',
        hasExplicitSizes: true,
        chunksCount: parts.length,
        range: { start, end },
        deliver: async (data) => void delivered.push(Buffer.from(data)),
        signal: cancel.signal,
      });
      expect(Buffer.concat(delivered).equals(content.subarray(start, end)), `${start}-${end}`).to.equal(true);
    }
  });

  it('ends when it is cancelled while a node keeps silent', async () => {
    const file = storedFile(partsOf(1), [agents[0]!]);
    agents[0]!.misbehave = () => {
      cancel.abort(new Error('Ctrl-C'));
      return true;
    };
    expect(await failureOf(file, 1)).to.include({ code: 'cancelled' });
  });

  it('gives its memory to the next, however it ends', async () => {
    const parts = partsOf(4);
    const file = storedFile(parts, agents);
    const brokenOff = async (): Promise<void> => {
      const failing = downloadFile(file, {
        fileId: 'file',
        hasExplicitSizes: false,
        chunksCount: 4,
        deliver: () => Promise.reject(new Error('the client has gone')),
        signal: cancel.signal,
      });
      expect(await failing.catch((error: unknown) => String(error))).to.equal('Error: the client has gone');
    };
    await fetch(file, 4);
    const memory = globalThis.SharedArrayBuffer;
    let made = 0;
    globalThis.SharedArrayBuffer = class extends memory {
      constructor(bytes?: number) {
        super(bytes);
        made += 1;
      }
    };
    try {
      for (let time = 0; time < 3; time += 1) {
        await brokenOff();
        await fetch(file, 4);
      }
      agents[0]!.chunks.clear();
      agents[1]!.chunks.clear();
      expect(await failureOf(file, 4)).to.include({ code: 'data_loss' });
      expect(made).to.equal(0);
    } finally {
      globalThis.SharedArrayBuffer = memory;
    }
  });

  it('is checked replica by replica by verify, which goes on after a bad one', async () => {
    const file = storedFile(partsOf(2), agents);
    agents[1]!.chunks.set(file.sources[0]!.chunkId, randomBytes(1000));
    agents[0]!.chunks.delete(file.sources[1]!.chunkId);
    const findings = await verifyFile(file, { fileId: 'file', chunksCount: 2, signal: cancel.signal });
    const bad = findings.filter((finding) => finding.problem !== '').map(({ index, node }) => `${index} on ${node}`);
    expect(findings).to.have.length(4);
    expect(bad).to.deep.equal(['0 on b', '1 on a']);
  });

  it('is checked by verify beyond chunks without any replica that can be read', async () => {
    const file = storedFile(partsOf(5), agents);
    const gone = [1, 2, 4];
    const chunkSources: DownloadCatalogue['chunkSources'] = async (id, from, count) => {
      const chunk = gone.find((index) => index >= from && index < from + count);
      if (chunk === undefined) return await file.chunkSources(id, from, count);
      throw new NexusError('unavailable', `chunk ${chunk} cannot be read now`, { chunk, chunk_id: `id-${chunk}` });
    };
    const findings = await verifyFile(
      { ...file, chunkSources },
      { fileId: 'file', chunksCount: 5, signal: cancel.signal },
    );
    const seen = findings.map(({ index, node, problem }) => `${index} ${node}${problem}`);
    expect(seen).to.deep.equal([
      '0 a',
      '0 b',
      '1 chunk 1 cannot be read now',
      '2 chunk 2 cannot be read now',
      '3 a',
      '3 b',
      '4 chunk 4 cannot be read now',
    ]);
  });
});
