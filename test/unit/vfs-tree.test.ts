/** The virtual file system against a simple model under random sequences, on the store in memory and on SQLite. */
import { expect } from 'chai';
import fc from 'fast-check';
import { FsUpkeep } from '../../controller/vfs/upkeep.js';
import { FsUseCases } from '../../controller/vfs/use-cases.js';
import type { Names } from '../../controller/store/port/fs.js';
import type { ClaimedReceipt } from '../../controller/file/receipts.js';
import { newUploadId, type UploadId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { codeOf } from '../support/codes.js';
import { FileBench } from '../support/files.js';
import { STORES } from '../support/stores.js';
import { ModelTree, type Outcome } from '../support/vfs.js';

const USER = 'alice';

interface Opened {
  readonly bench: FileBench;
  readonly fs: FsUseCases;
  readonly upkeep: FsUpkeep;
}

const name = fc.constantFrom('a', 'b', 'c');
const path = fc.array(name, { minLength: 1, maxLength: 4 });
const step = fc.oneof(
  fc.record({ kind: fc.constant('mkdir' as const), path, flag: fc.boolean() }),
  fc.record({ kind: fc.constant('store' as const), path, flag: fc.boolean(), size: fc.nat({ max: 100 }) }),
  fc.record({ kind: fc.constant('move' as const), path, to: path, flag: fc.boolean() }),
  fc.record({ kind: fc.constant('remove' as const), path, flag: fc.boolean() }),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** A small file by the real use cases, with receipts as agents sign them. */
async function storeAt({ bench, fs }: Opened, at: Names, size: number, overwrite: boolean): Promise<void> {
  const request = { overwrite, parents: false, replicas: 1, expectedSize: size };
  const { upload } = await fs.openUpload(USER, at, request);
  const grants = size === 0 ? [] : await bench.grant(upload.id, 1);
  const receipts = grants.flatMap((grant) => bench.receiptsOf(grant, size));
  await bench.files.commit(upload.id, { size, chunksCount: grants.length, receipts });
}

async function outcomeOf(opened: Opened, one: Step): Promise<string> {
  const { fs } = opened;
  const code = await codeOf(async () => {
    if (one.kind === 'mkdir') await fs.makeFolder(USER, one.path, one.flag);
    else if (one.kind === 'store') await storeAt(opened, one.path, one.size, one.flag);
    else if (one.kind === 'move') await fs.move(USER, one.path, one.to, one.flag);
    else await fs.remove(USER, one.path, one.flag);
  });
  return code === 'accepted' ? 'done' : code;
}

function modelOutcome(model: ModelTree, one: Step): Outcome {
  if (one.kind === 'mkdir') return model.makeFolder(one.path, one.flag);
  if (one.kind === 'store') return model.store(one.path, one.size, one.flag);
  if (one.kind === 'move') return model.move(one.path, one.to, one.flag);
  return model.remove(one.path, one.flag);
}

async function linesOf(fs: FsUseCases): Promise<string[]> {
  const lines: string[] = [];
  for await (const entries of fs.walk(USER, [], 0))
    lines.push(...entries.map(({ entry, path: at }) => (entry.type === 'file' ? `${at} ${entry.size}` : `${at}/`)));
  return lines;
}

for (const { name: kind, open } of STORES.filter((store) => !store.name.includes('PostgreSQL'))) {
  describe(`virtual file system, ${kind}`, () => {
    const opening = async (): Promise<Opened & { dispose: () => Promise<void> }> => {
      const { store, dispose } = await open();
      const bench = new FileBench(3, store);
      const upkeep = new FsUpkeep(bench.deps, () => undefined);
      return { bench, fs: new FsUseCases(bench.deps, bench.files.uploads, () => undefined, upkeep), upkeep, dispose };
    };

    it('is like the model after every step of a random sequence, and its account exact', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          const opened = await opening();
          try {
            const model = new ModelTree();
            for (const one of steps) {
              expect(await outcomeOf(opened, one), JSON.stringify(one)).to.equal(modelOutcome(model, one));
              // A refused upload gives back what it held.
              for (const id of await opened.bench.deps.store.expiredUploads(Number.MAX_SAFE_INTEGER))
                await opened.bench.files.abort(id);
              const { used, reserved, recounted } = await opened.fs.quota(USER, true);
              expect({ used, reserved }).to.deep.equal(recounted);
              expect({ used, reserved }).to.deep.equal({ used: model.bytes(), reserved: 0 });
            }
            const lines = await linesOf(opened.fs);
            expect([...lines].sort()).to.deep.equal([...model.lines()].sort());
            const seen = new Set(['']);
            for (const line of lines) {
              const at = line.split(' ')[0]!.replace(/\/$/, '');
              expect(seen.has(at.slice(0, at.lastIndexOf('/'))), line).to.equal(true);
              seen.add(at);
            }
            const sums = await opened.fs.usage(USER, []);
            expect(sums).to.deep.equal({
              bytes: model.bytes(),
              files: model.lines().filter((line) => !line.endsWith('/')).length,
              folders: model.lines().filter((line) => line.endsWith('/')).length,
            });
          } finally {
            await opened.dispose();
          }
        }),
        { numRuns: kind.includes('SQLite') ? 60 : 100 },
      );
    }).timeout(120_000);

    describe('with several callers at once', () => {
      let opened: Opened & { dispose: () => Promise<void> };
      beforeEach(async () => {
        opened = await opening();
      });
      afterEach(() => opened.dispose());

      /** An upload that is ready to be committed. */
      const begun = async (at: Names, size: number, overwrite = false) => {
        const { bench, fs } = opened;
        const request = { overwrite, parents: true, replicas: 1, expectedSize: size };
        const { upload } = await fs.openUpload(USER, at, request);
        const grants = await bench.grant(upload.id, 1);
        const receipts = grants.flatMap((grant) => bench.receiptsOf(grant, size));
        return () => bench.files.commit(upload.id, { size, chunksCount: 1, receipts });
      };

      it('one of two uploads to a path wins, the other is refused', async () => {
        const commits = [await begun(['f'], 1), await begun(['f'], 2)];
        const codes = await Promise.all(commits.map((commit) => codeOf(commit)));
        expect(codes.sort()).to.deep.equal(['accepted', 'already_exists']);
      });

      it('with --overwrite each replaces the one before', async () => {
        const commits = [await begun(['f'], 1, true), await begun(['f'], 2, true)];
        for (const commit of commits) await commit();
        expect((await opened.fs.stat(USER, ['f'])).entry.size).to.equal(2);
        expect((await opened.fs.quota(USER, true)).used).to.equal(2);
      });

      it('an upload follows its folder, and fails when that has gone, even halfway', async () => {
        const follows = await begun(['one', 'f'], 1);
        await opened.fs.move(USER, ['one'], ['two'], false);
        await follows();
        expect((await opened.fs.stat(USER, ['two', 'f'])).entry.size).to.equal(1);
        const late = await begun(['two', 'deep', 'g'], 1);
        const { group } = await opened.bench.deps.fs.detach(USER, ['two'], {
          recursive: true,
          now: 0,
          claim: () => true,
        });
        expect(await codeOf(late)).to.equal('not_found');
        expect(await opened.bench.deps.fs.detachedGroups()).to.deep.equal([group]);
        await opened.upkeep.tick();
        expect(await opened.bench.deps.fs.detachedGroups()).to.deep.equal([]);
        expect((await opened.fs.quota(USER, true)).used).to.equal(0);
      });

      it('a large folder is removed beside other work, and the answer tells all of it', async () => {
        const { fs, upkeep } = opened;
        const folders = 1200;
        await fs.makeFolder(USER, ['large'], false);
        for (let at = 0; at < folders; at += 1) await fs.makeFolder(USER, ['large', String(at)], false);
        let turns = 0;
        const counting = setInterval(() => (turns += 1), 0);
        const state = { isDone: false };
        const removal = fs.remove(USER, ['large'], true).finally(() => {
          state.isDone = true;
        });
        const others = (async () => {
          while (!state.isDone) await Promise.all([upkeep.tick(), new Promise(setImmediate)]);
        })();
        expect((await removal).folders).to.equal(folders + 1);
        await others;
        clearInterval(counting);
        expect(turns, 'turns of the loop meanwhile').to.be.greaterThan(0);
      });

      it('a reader keeps what it began with; it counts until the reader has ended', async () => {
        const { fs, bench, upkeep } = opened;
        await (
          await begun(['f'], 5)
        )();
        const { file, lease } = await fs.openDownload(USER, ['f']);
        await (
          await begun(['f'], 7, true)
        )();
        await fs.remove(USER, ['f'], false);
        await upkeep.tick();
        const { sources } = await bench.files.catalogue.sources(file.id, 0, 1, { lease, owner: USER });
        expect(sources[0]?.chunk.size).to.equal(5);
        const another = () => bench.files.catalogue.sources(file.id, 0, 1, { lease, owner: 'bob' });
        expect(await codeOf(another)).to.equal('not_found');
        expect(await fs.quota(USER, true)).to.deep.include({ used: 5, recounted: { used: 5, reserved: 0 } });
        fs.closeDownload('bob', lease);
        await upkeep.tick();
        expect((await fs.quota(USER, false)).used).to.equal(5);
        fs.closeDownload(USER, lease);
        await upkeep.tick();
        expect(await fs.quota(USER, true)).to.deep.include({ used: 0, recounted: { used: 0, reserved: 0 } });
        const gone = () => bench.files.catalogue.sources(file.id, 0, 1, { lease, owner: USER });
        expect(await codeOf(gone)).to.equal('not_found');
      });

      it('a removal of many entries goes in steps and counts them all', async () => {
        const { fs } = opened;
        for (let at = 0; at < 30; at += 1) await fs.makeFolder(USER, ['top', `f${at % 5}`, `g${at}`, 'h'], true);
        const deps = opened.bench.deps.fs;
        const { group } = await deps.detach(USER, ['top'], { recursive: true, now: 0, claim: () => true });
        let folders = 0;
        for (let isDone = false; !isDone;) {
          const reaped = await deps.reap(group ?? '', 7, { now: 0, claim: () => true });
          folders += reaped.sums.folders;
          expect(reaped.sums.folders).to.be.at.most(7);
          ({ isDone } = reaped);
        }
        expect(folders).to.equal(1 + 5 + 30 + 30);
        expect(await fs.list(USER, [], { after: '', limit: 10 })).to.deep.equal([]);
      });

      it('users have trees of their own', async () => {
        const { fs } = opened;
        await fs.makeFolder(USER, ['mine'], false);
        expect(await codeOf(() => fs.stat('bob', ['mine']))).to.equal('not_found');
        expect(await codeOf(() => opened.bench.grant(newUploadId(), 1))).to.equal('not_found');
      });
    });
  });
}

describe('quotas', () => {
  const MB_20 = 20 * 1024 * 1024;

  it('stay exact under random interleavings of uploads that end well, badly or not at all', async () => {
    const action = fc.record({
      kind: fc.constantFrom('open', 'grant', 'commit', 'abort', 'expire', 'remove', 'limit'),
      pick: fc.nat({ max: 5 }),
      size: fc.nat({ max: 3 * CHUNK_SIZE_BYTES }),
      isKnown: fc.boolean(),
      isRaw: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 30 }), fc.boolean(), async (actions, failing) => {
        const bench = new FileBench(3);
        const upkeep = new FsUpkeep(bench.deps, () => undefined);
        const fs = new FsUseCases(bench.deps, bench.files.uploads, () => undefined, upkeep);
        let limit = MB_20;
        await fs.setQuota(USER, limit);
        const open: { id: UploadId; chunks: number; receipts: ClaimedReceipt[] }[] = [];
        let names = 0;
        for (const { kind, pick, size, isKnown, isRaw } of actions) {
          const one = open[pick % Math.max(1, open.length)];
          if (failing && pick === 3) bench.store.failNextWrites(1);
          await codeOf(async () => {
            if (kind === 'open') {
              const expectedSize = isKnown ? size : 0;
              names += 1;
              const { upload } = isRaw
                ? await bench.files.uploads.open({ name: 'r', replicas: 1, expectedSize, owner: USER })
                : await fs.openUpload(USER, [`f${names % 4}`], {
                    overwrite: true,
                    parents: false,
                    replicas: 1,
                    expectedSize,
                  });
              open.push({ id: upload.id, chunks: 0, receipts: [] });
            } else if (kind === 'grant' && one !== undefined) {
              const [grant] = await bench.grant(one.id, 1);
              if (grant === undefined) return;
              one.chunks += 1;
              one.receipts.push(...bench.receiptsOf(grant, CHUNK_SIZE_BYTES));
            } else if (kind === 'commit' && one !== undefined) {
              const { id, chunks, receipts } = one;
              await bench.files.commit(id, { size: chunks * CHUNK_SIZE_BYTES, chunksCount: chunks, receipts });
            } else if (kind === 'abort' && one !== undefined) await bench.files.abort(one.id);
            else if (kind === 'expire') {
              bench.nowMs += 61_000;
              await bench.maintenance.tick(new AbortController().signal);
            } else if (kind === 'remove') await fs.remove(USER, [`f${pick % 4}`], false);
            else if (kind === 'limit') {
              limit = MB_20 + pick * CHUNK_SIZE_BYTES;
              await fs.setQuota(USER, limit);
            }
          });
          bench.store.failNextWrites(0);
          const { used, reserved, recounted } = await fs.quota(USER, true);
          expect({ used, reserved }).to.deep.equal(recounted);
        }
      }),
      { numRuns: 60 },
    );
  }).timeout(300_000);

  it('refuse before the first byte, raw files included, and never more than there is', async () => {
    const bench = new FileBench(3);
    const upkeep = new FsUpkeep(bench.deps, () => undefined);
    const fs = new FsUseCases(bench.deps, bench.files.uploads, () => undefined, upkeep);
    await fs.setQuota(USER, MB_20);
    const raw = (expectedSize: number) =>
      bench.files.uploads.open({ name: 'r', replicas: 1, expectedSize, owner: USER });
    expect(await codeOf(() => raw(MB_20 + 1))).to.equal('resource_exhausted');
    await raw(MB_20 - 5);
    const request = { overwrite: false, parents: false, replicas: 1 };
    expect(await codeOf(() => fs.openUpload(USER, ['f'], { ...request, expectedSize: 6 }))).to.equal(
      'resource_exhausted',
    );
    const { upload } = await fs.openUpload(USER, ['f'], { ...request, expectedSize: 5 });
    expect(await codeOf(() => bench.grant(upload.id, 1))).to.equal('accepted');
    expect(await codeOf(() => bench.grant(upload.id, 1))).to.equal('resource_exhausted');
    expect(await fs.quota(USER, true)).to.deep.include({ reserved: MB_20, recounted: { used: 0, reserved: MB_20 } });
  });
});
