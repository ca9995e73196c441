import { createHash, randomBytes } from 'node:crypto';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ChunkLayout } from '../../agent/chunk/layout.js';
import { ChunkStore } from '../../agent/chunk/store.js';
import { Tombstones } from '../../agent/chunk/tombstones.js';
import type { ExpectedChunk } from '../../agent/chunk/write.js';
import { createAgentLog } from '../../agent/log.js';
import { DirectoryVolume } from '../../agent/volume/directory.js';
import { FakeVolume } from '../fakes/agent-volume.js';
import type { Volume } from '../../agent/volume/port.js';
import { systemClock, type Clock } from '../../shared/async/clock.js';
import { toNexusError } from '../../shared/errors.js';
import { newChunkId, type ChunkId } from '../../shared/ids.js';
import { CHUNK_TOKEN_TTL_MS, KIB, MIB } from '../../shared/limits.js';
import { errorOf } from '../support/codes.js';

const quiet = createAgentLog({}, 'error', () => undefined);
const promiseOf = (content: Buffer): ExpectedChunk => ({
  size: content.length,
  md5: createHash('md5').update(content).digest('hex'),
});

async function put(
  store: ChunkStore,
  chunk: ChunkId,
  content: Buffer,
  expected = promiseOf(content),
): Promise<boolean> {
  await using write = await store.beginWrite(chunk, expected);
  for (let at = 0; at < content.length; at += 64 * KIB) await write.write(content.subarray(at, at + 64 * KIB));
  await write.commit();
  return write.repeated;
}

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
  } catch (error) {
    return toNexusError(error).code;
  }
  return 'accepted';
};

async function read(store: ChunkStore, chunk: ChunkId): Promise<Buffer> {
  const { file } = await store.openRead(chunk);
  try {
    return await file.readFile();
  } finally {
    await file.close();
  }
}

describe('chunk store', () => {
  let dataDir: string;
  let volume: FakeVolume;
  let store: ChunkStore;
  const open = async (on: Volume = volume, clock: Clock = systemClock): Promise<ChunkStore> => {
    const opened = new ChunkStore({ volume: on, clock, log: quiet });
    await opened.recover();
    return opened;
  };
  const temporaries = (): Promise<string[]> => readdir(join(dataDir, 'tmp'));

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'nexus-store-'));
    volume = new FakeVolume(dataDir, 1024 * MIB);
    store = await open();
  });
  afterEach(async () => {
    await rm(dataDir, { recursive: true, force: true });
  });

  it('gives back what was put in, and still does after a restart', async () => {
    const chunk = newChunkId();
    const content = randomBytes(3 * MIB + 17);
    await put(store, chunk, content);
    expect((await read(store, chunk)).equals(content)).to.equal(true);
    const again = await open();
    expect((await read(again, chunk)).equals(content)).to.equal(true);
    expect(again.counters).to.include({ chunks: 1, bytes: content.length });
    expect(await temporaries()).to.deep.equal([]);
  });

  it('refuses content with another MD5 and leaves nothing', async () => {
    const chunk = newChunkId();
    const expected = promiseOf(Buffer.from('promised'));
    expect(await codeOf(put(store, chunk, Buffer.from('arrived!'), expected))).to.equal('data_loss');
    expect(store.counters).to.include({ chunks: 0, checksumFailures: 1 });
    expect(await temporaries()).to.deep.equal([]);
    expect(await codeOf(store.openRead(chunk))).to.equal('not_found');
    expect(await put(store, chunk, Buffer.from('promised'))).to.equal(false);
  });

  it('says of a chunk whose file is gone that it is not there, and not where it was', async () => {
    const chunk = newChunkId();
    await put(store, chunk, Buffer.from('content'));
    await rm(new ChunkLayout(dataDir).chunk(chunk));
    const error = await errorOf(() => store.openRead(chunk));
    expect(error).to.include({ code: 'not_found', message: `chunk ${chunk} is not on this node any more` });
  });

  it('refuses fewer and more bytes than promised', async () => {
    const content = Buffer.from('twelve bytes');
    const { md5 } = promiseOf(content);
    expect(await codeOf(put(store, newChunkId(), content, { size: 13, md5 }))).to.equal('invalid_argument');
    expect(await codeOf(put(store, newChunkId(), content, { size: 11, md5 }))).to.equal('invalid_argument');
    expect(await temporaries()).to.deep.equal([]);
  });

  it('takes the same content again, and refuses other content under the same id', async () => {
    const chunk = newChunkId();
    expect(await put(store, chunk, Buffer.from('one'))).to.equal(false);
    expect(await put(store, chunk, Buffer.from('one'))).to.equal(true);
    expect(await codeOf(put(store, chunk, Buffer.from('two')))).to.equal('already_exists');
    expect(store.counters).to.include({ chunks: 1, bytes: 3, writes: 1 });
  });

  it('lets one of two concurrent writers of a chunk win', async () => {
    const chunk = newChunkId();
    const contents = [randomBytes(MIB), randomBytes(MIB)];
    const results = await Promise.all(contents.map((content) => codeOf(put(store, chunk, content))));
    expect(results.filter((result) => result === 'accepted')).to.have.length(1);
    expect(results.filter((result) => result !== 'accepted')[0]).to.be.oneOf(['aborted', 'already_exists']);
    const winner = contents[results.indexOf('accepted')];
    expect((await read(store, chunk)).equals(winner ?? Buffer.alloc(0))).to.equal(true);
  });

  it('removes at start what a crash left, and does not count a chunk without its sidecar', async () => {
    const [kept, halfDeleted, foreign] = [newChunkId(), newChunkId(), newChunkId()];
    await put(store, kept, Buffer.from('kept'));
    await put(store, halfDeleted, Buffer.from('gone'));
    const path = (chunk: string): string => join(dataDir, 'chunks', chunk.slice(0, 2), chunk);
    await rm(path(halfDeleted));
    await put(store, foreign, Buffer.from('foreign'));
    await rm(`${path(foreign)}.json`);
    await writeFile(join(dataDir, 'tmp', `${newChunkId()}.unfinished`), 'half');
    const again = await open();
    expect(again.counters).to.include({ chunks: 1, bytes: 4 });
    expect(await temporaries()).to.deep.equal([]);
    expect(await codeOf(stat(`${path(halfDeleted)}.json`))).to.equal('not_found');
    expect((await again.list('', 10)).map(({ chunk }) => chunk)).to.deep.equal([kept]);
  });

  it('notices a chunk that was cut short on disk, and a new write repairs it', async () => {
    const chunk = newChunkId();
    await put(store, chunk, Buffer.from('whole'));
    await writeFile(join(dataDir, 'chunks', chunk.slice(0, 2), chunk), 'who');
    expect(await codeOf(store.openRead(chunk))).to.equal('data_loss');
    expect(await put(store, chunk, Buffer.from('whole'))).to.equal(false);
    expect((await read(store, chunk)).toString()).to.equal('whole');
    expect(store.counters.chunks).to.equal(1);
  });

  it('deletes as often as asked, and a token that is still valid cannot bring the chunk back', async () => {
    let nowMs = 0;
    const clock: Clock = { ...systemClock, monotonic: () => nowMs };
    const timed = await open(volume, clock);
    const chunk = newChunkId();
    await put(timed, chunk, Buffer.from('content'));
    await timed.delete(chunk);
    await timed.delete(chunk);
    expect(timed.counters).to.include({ chunks: 0, bytes: 0 });
    expect(await codeOf(put(timed, chunk, Buffer.from('content')))).to.equal('failed_precondition');
    nowMs = CHUNK_TOKEN_TTL_MS;
    expect(await codeOf(put(timed, chunk, Buffer.from('content')))).to.equal('accepted');
  });

  it('does not let a late write bring a deleted chunk back after a restart either', async () => {
    let nowMs = 1_000_000;
    const clock: Clock = { ...systemClock, now: () => nowMs, monotonic: () => nowMs };
    const written = newChunkId();
    const granted = newChunkId();
    const first = await open(volume, clock);
    await put(first, written, Buffer.from('content'));
    await Promise.all([first.delete(written), first.delete(granted)]);
    nowMs += CHUNK_TOKEN_TTL_MS / 2;
    // Twice: what the first restart writes anew the second one reads.
    for (const _restart of [1, 2]) {
      const again = await open(volume, clock);
      for (const chunk of [written, granted])
        expect(await codeOf(put(again, chunk, Buffer.from('content')))).to.equal('failed_precondition');
    }
    nowMs += CHUNK_TOKEN_TTL_MS / 2;
    const later = await open(volume, clock);
    expect(await codeOf(put(later, granted, Buffer.from('content')))).to.equal('accepted');
  });

  it('reads tombstones past a line that a full volume cut off, and bounds their file', async () => {
    const path = join(dataDir, '.agent', 'few');
    const tombstones = new Tombstones(systemClock, path, 3);
    await tombstones.load();
    const kept = newChunkId();
    await appendFile(path, `${Date.now() + 60_000} 0123`);
    tombstones.add(kept);
    await tombstones.save(kept);
    const again = new Tombstones(systemClock, path, 3);
    await again.load();
    expect(again.has(kept)).to.equal(true);
    const many = Array.from({ length: 50 }, newChunkId);
    for (const chunk of many) {
      again.add(chunk);
      await again.save(chunk);
    }
    expect((await readFile(path, 'utf8')).split('\n').filter((line) => line.trim() !== '').length).to.be.lessThan(7);
    const last = new Tombstones(systemClock, path, 3);
    await last.load();
    expect(many.filter((chunk) => last.has(chunk))).to.deep.equal(many.slice(-3));
  });

  it('keeps tombstones in a file that has its room beforehand, and reads those of earlier agents', async () => {
    const path = join(dataDir, '.agent', 'tombstones');
    const sizeOfFile = async (): Promise<number> => (await stat(path)).size;
    const before = await sizeOfFile();
    expect(before).to.be.greaterThan(60_000);
    for (let count = 0; count < 100; count += 1) await store.delete(newChunkId());
    expect(await sizeOfFile()).to.equal(before);
    const old = newChunkId();
    await writeFile(path, `\n${Date.now() + 60_000} ${old}\n\n${Date.now() - 1} ${newChunkId()}\n`);
    const first = new Tombstones(systemClock, path);
    await first.load();
    const second = new Tombstones(systemClock, path);
    await second.load();
    expect([first.has(old), second.has(old)]).to.deep.equal([true, true]);
    expect((await sizeOfFile()) % 48).to.equal(0);
  });

  it('does not publish a chunk that is deleted while it is written', async () => {
    const chunk = newChunkId();
    const content = Buffer.from('content');
    {
      await using write = await store.beginWrite(chunk, promiseOf(content));
      await write.write(content);
      await store.delete(chunk);
      expect(await codeOf(write.commit())).to.equal('failed_precondition');
    }
    expect(await codeOf(store.openRead(chunk))).to.equal('not_found');
    expect(await temporaries()).to.deep.equal([]);
  });

  it('promises the last room to one writer only, and takes it back when the write is given up', async () => {
    volume.usedBytes = 1021 * MIB;
    const expected = promiseOf(randomBytes(2 * MIB));
    {
      await using _first = await store.beginWrite(newChunkId(), expected);
      expect(await codeOf(store.beginWrite(newChunkId(), expected))).to.equal('resource_exhausted');
    }
    await using _second = await store.beginWrite(newChunkId(), expected);
  });

  it('keeps a folder to its size', async () => {
    const stored = { bytes: (): number => 0 };
    const directory = new DirectoryVolume(dataDir, 4 * MIB, () => stored.bytes());
    const bounded = await open(directory);
    stored.bytes = () => bounded.storedBytes;
    await put(bounded, newChunkId(), randomBytes(2 * MIB));
    expect(await codeOf(put(bounded, newChunkId(), randomBytes(2 * MIB)))).to.equal('resource_exhausted');
    expect(await directory.usage()).to.include({ totalBytes: 4 * MIB, usedBytes: 2 * MIB, freeBytes: 2 * MIB });
    await put(bounded, newChunkId(), randomBytes(MIB));
    expect(await temporaries()).to.deep.equal([]);
  });

  it('lists in order, a page at a time', async () => {
    const ids = Array.from({ length: 30 }, newChunkId).sort();
    for (const id of ids) await put(store, id, Buffer.from(id));
    const listed: string[] = [];
    for (let page = await store.list('', 7); page.length > 0; page = await store.list(listed.at(-1) ?? '', 7)) {
      listed.push(...page.map(({ chunk }) => chunk));
    }
    expect(listed).to.deep.equal(ids);
  });

  it('lists what is damaged as such, and all the rest as before, whatever else lies in its folders', async () => {
    const ids = Array.from({ length: 9 }, newChunkId).sort();
    for (const id of ids) await put(store, id, Buffer.from(id));
    const sidecar = (id: string): string => join(dataDir, 'chunks', id.slice(0, 2), `${id}.json`);
    await writeFile(sidecar(ids[2]!), '{');
    await rm(sidecar(ids[5]!));
    await mkdir(sidecar(ids[5]!));
    await writeFile(join(dataDir, 'chunks', 'not-a-folder'), '');
    await mkdir(join(dataDir, 'chunks', 'ff', `${'f'.repeat(32)}.json`), { recursive: true });
    store = await open();
    const listed = await store.list('', 100);
    expect(listed.map(({ chunk }) => chunk)).to.deep.equal(ids);
    const damaged = listed.filter(({ damage }) => damage !== undefined);
    expect(damaged.map(({ chunk }) => chunk)).to.deep.equal([ids[2], ids[5]]);
    expect(damaged[0]?.damage).to.match(/sidecar is damaged/);
    expect(await codeOf(store.openRead(ids[2]!))).to.equal('data_loss');
  });

  it('writes a sidecar that tells what the chunk is', async () => {
    const chunk = newChunkId();
    const content = Buffer.from('content');
    await put(store, chunk, content);
    const text = await readFile(join(dataDir, 'chunks', chunk.slice(0, 2), `${chunk}.json`), 'utf8');
    expect(JSON.parse(text)).to.include(promiseOf(content)).and.to.have.property('written_at');
  });
});
