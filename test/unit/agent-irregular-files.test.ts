/** Root of a node puts named pipes, links and folders in place of the agent's files: none of them holds it up. */
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, symlinkSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { checkChunks } from '../../agent/chunk/check.js';
import { ChunkStore } from '../../agent/chunk/store.js';
import type { ExpectedChunk } from '../../agent/chunk/write.js';
import { createAgentLog } from '../../agent/log.js';
import { loadReceiptKey } from '../../agent/receipt-key.js';
import { FileProber } from '../../agent/volume/probe.js';
import { systemClock } from '../../shared/async/clock.js';
import { newChunkId, type ChunkId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { FakeVolume } from '../fakes/agent-volume.js';
import { errorOf } from '../support/codes.js';

const quiet = createAgentLog({}, 'error', () => undefined);
const content = randomBytes(1000);
const expected: ExpectedChunk = { size: content.length, md5: createHash('md5').update(content).digest('hex') };

const KINDS: readonly (readonly [string, (path: string) => void])[] = [
  ['a named pipe', (path) => execFileSync('mkfifo', [path])],
  ['a link', (path) => symlinkSync('/etc/passwd', path)],
  ['a link', (path) => symlinkSync('nowhere', path)],
  ['a folder', (path) => mkdirSync(join(path, 'in', 'it'), { recursive: true })],
];

describe('files of the agent that are no regular files', () => {
  let dataDir: string;
  let store: ChunkStore;
  const started = async (): Promise<ChunkStore> => {
    const opened = new ChunkStore({ volume: new FakeVolume(dataDir, 64 * MIB), clock: systemClock, log: quiet });
    await opened.recover();
    return opened;
  };
  const put = async (chunk: ChunkId): Promise<boolean> => {
    await using write = await store.beginWrite(chunk, expected);
    await write.write(content);
    await write.commit();
    return write.repeated;
  };
  const fileOf = (chunk: ChunkId): string => join(dataDir, 'chunks', chunk.slice(0, 2), chunk);
  const replace = async (path: string, make: (path: string) => void): Promise<void> => {
    await rm(path, { force: true });
    make(path);
  };
  const findings = async (chunk: ChunkId) =>
    await checkChunks(store, systemClock, { chunks: [{ chunk, expected }], rate: 0 });

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'nexus-irregular-'));
    store = await started();
  });
  afterEach(async () => {
    await rm(dataDir, { recursive: true, force: true });
  });

  for (const [kind, make] of KINDS) {
    it(`${kind} in place of a chunk is a damaged chunk, which a new write repairs and a deletion removes`, async () => {
      const chunk = newChunkId();
      const whole = newChunkId();
      await put(chunk);
      await put(whole);
      await replace(fileOf(chunk), make);
      const error = await errorOf(() => store.openRead(chunk));
      expect(error.code).to.equal('data_loss');
      expect(error.message).to.include(chunk).and.include(kind);
      expect(await findings(chunk)).to.have.length(1);
      expect((await findings(chunk))[0]).to.include({ chunk, state: 'corrupt' });
      // Reading, checking and checking again.
      expect(store.counters.checksumFailures).to.be.greaterThan(2);
      const listed = await store.list('', 10);
      expect(listed.filter(({ damage }) => damage !== undefined).map((entry) => entry.chunk)).to.deep.equal([chunk]);
      expect(listed.find((entry) => entry.chunk === chunk)?.damage).to.include(kind);

      store = await started();
      expect(store.counters.chunks).to.equal(2);
      expect(await put(chunk)).to.equal(false);
      expect((await readFile(fileOf(chunk))).equals(content)).to.equal(true);
      expect(await findings(chunk)).to.deep.equal([]);

      await replace(fileOf(chunk), make);
      await store.delete(chunk);
      expect((await store.list('', 10)).map((entry) => entry.chunk)).to.deep.equal([whole]);
    });

    it(`${kind} in place of a sidecar is a damaged chunk, which a new write repairs`, async () => {
      const chunk = newChunkId();
      await put(chunk);
      await replace(`${fileOf(chunk)}.json`, make);
      expect((await errorOf(() => store.openRead(chunk))).message).to.match(/sidecar is damaged/);
      expect((await findings(chunk))[0]).to.include({ chunk, state: 'corrupt' });
      expect((await store.list('', 10))[0]?.damage).to.match(/sidecar is damaged/);
      expect(await put(chunk)).to.equal(false);
      expect(await findings(chunk)).to.deep.equal([]);
    });

    it(`${kind} in place of the tombstones is replaced, with those that are known`, async () => {
      const path = join(dataDir, '.agent', 'tombstones');
      const [first, second] = [newChunkId(), newChunkId()];
      await store.delete(first);
      await replace(path, make);
      await store.delete(second);
      expect((await stat(path)).isFile()).to.equal(true);
      store = await started();
      for (const chunk of [first, second])
        expect((await errorOf(() => put(chunk))).code).to.equal('failed_precondition');

      await replace(path, make);
      store = await started();
      expect(await put(first)).to.equal(false);
    });

    it(`${kind} in place of the receipt key is refused as damage`, async () => {
      await loadReceiptKey(dataDir);
      await replace(join(dataDir, '.agent', 'receipt.pem'), make);
      const error = await errorOf(() => loadReceiptKey(dataDir));
      expect([error.code, error.message]).to.satisfy(
        ([code, text]: [string, string]) => code === 'data_loss' && text.includes('remove the file'),
      );
    });

    it(`${kind} in place of what the volume is tried with is replaced`, async () => {
      const path = join(dataDir, '.agent', 'probe');
      make(path);
      const prober = new FileProber(dataDir);
      expect((await errorOf(() => prober.read())).code).to.equal('data_loss');
      await prober.write();
      await prober.read();
      expect((await stat(path)).isFile()).to.equal(true);
    });
  }

  it('a sidecar beyond all measure is not read', async () => {
    const chunk = newChunkId();
    await put(chunk);
    await writeFile(`${fileOf(chunk)}.json`, Buffer.alloc(5 * MIB, ' '));
    expect((await errorOf(() => store.openRead(chunk))).message).to.match(/sidecar is damaged/);
  });
});
