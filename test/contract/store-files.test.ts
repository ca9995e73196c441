/** What every store keeps of files: uploads, publishing, removal, and the copies that must vanish. */
import { expect } from 'chai';
import type { ChunkId, UploadId } from '../../shared/ids.js';
import { newUploadId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { topOf } from '../../controller/store/port/fs.js';
import type { FileStore, ReceivedChunk } from '../../controller/store/port/store.js';
import { codeOf, errorOf } from '../support/codes.js';
import {
  fileId,
  MD5,
  nodeId,
  openUpload,
  placedChunk,
  storeFile,
  uploadingFile,
  uploadOf,
  type OpenedUpload,
} from '../support/records.js';
import { STORES, type OpenedStore } from '../support/stores.js';

const [A, B, C] = [nodeId(1), nodeId(2), nodeId(3)] as const;

const receiptOf = (upload: OpenedUpload, index: number, size = CHUNK_SIZE_BYTES): ReceivedChunk => {
  const chunk = upload.chunks[index]!;
  return { chunkId: chunk.id, size, md5: MD5, nodeIds: chunk.nodeIds };
};

for (const { name, open } of STORES) {
  describe(`file store, ${name}`, () => {
    let opened: OpenedStore;
    let files: FileStore;

    beforeEach(async () => {
      opened = await open();
      files = opened.store.files;
    });
    afterEach(async () => {
      await opened.dispose();
    });

    describe('uploads', () => {
      it('come back as they were stored, and their file is not in the catalogue', async () => {
        const file = uploadingFile({ createdAt: 2 ** 45 });
        const upload = uploadOf(file, { expectedSize: 2 ** 50, expiresAt: 2 ** 45 });
        await files.openUpload(file, upload);
        expect(await files.getUpload(upload.id)).to.deep.equal(upload);
        expect(await files.getFile(file.id)).to.deep.equal(file);
        expect(await files.listFiles({ limit: 10 })).to.deep.equal([]);
        expect(await files.findFiles(file.id)).to.deep.equal([]);
        expect(await codeOf(() => files.removeFile(file.id))).to.equal('not_found');
      });

      it('of explicit sizes keep what was named, and are published with it', async () => {
        const file = uploadingFile({ explicitSizes: true });
        const upload = uploadOf(file);
        await files.openUpload(file, upload);
        const sizes = [1, 5, 3];
        const placed = sizes.map((size, index) => ({
          ...placedChunk(index, [A]),
          part: { size, offset: sizes.slice(0, index).reduce((sum, each) => sum + each, 0) },
        }));
        await files.recordGrants(upload.id, { received: [], moved: [], placed, expiresAt: 1000 });
        expect((await files.writingBytes()).get(A)).to.equal(9);
        const received = placed.map(({ id, index }) => ({
          chunkId: id,
          size: sizes[index] ?? 0,
          md5: MD5,
          nodeIds: [A],
        }));
        const published = await files.commitUpload(upload.id, { received, size: 9, chunksCount: 3 });
        expect(published).to.deep.include({ explicitSizes: true, size: 9, status: 'ready' });
        const stored = await files.chunks(file.id, { from: 0, count: 9 });
        expect(stored.map(({ offset, size }) => [offset, size])).to.deep.equal([
          [0, 1],
          [1, 5],
          [6, 3],
        ]);
      });

      it('get their place later where the path is told after the bytes, and not published without one', async () => {
        const file = uploadingFile({ kind: 'fs', name: 'unnamed' });
        const upload = uploadOf(file);
        await files.openUpload(file, upload);
        const commit = () => files.commitUpload(upload.id, { received: [], size: 0, chunksCount: 0 });
        expect(await codeOf(commit)).to.equal('failed_precondition');
        const place = { parentId: topOf(file.owner), entryName: 'a.txt', overwrite: false };
        await files.placeUpload(upload.id, place);
        expect(await files.getUpload(upload.id)).to.deep.include(place);
        expect(await commit()).to.deep.include({ name: 'a.txt', status: 'ready' });
        expect((await opened.store.fs.find(file.owner, ['a.txt']))[0]?.fileId).to.equal(file.id);
        expect(await codeOf(() => files.placeUpload(upload.id, place))).to.equal('not_found');
      });

      it('take grants: chunks, their places, a later expiry', async () => {
        const { id, file, chunks } = await openUpload(files, [[A, B], [C]]);
        expect(await files.getUpload(id)).to.deep.include({ granted: 2, expiresAt: 1000 });
        expect(await files.uploadChunks(id)).to.deep.equal([
          {
            id: chunks[0]!.id,
            fileId: file.id,
            index: 0,
            size: 0,
            offset: 0,
            md5: '',
            replicas: [
              { nodeId: A, state: 'writing' },
              { nodeId: B, state: 'writing' },
            ],
          },
          {
            id: chunks[1]!.id,
            fileId: file.id,
            index: 1,
            size: 0,
            offset: CHUNK_SIZE_BYTES,
            md5: '',
            replicas: [{ nodeId: C, state: 'writing' }],
          },
        ]);
        expect((await files.chunksAt(file.id, [1, 7])).map((chunk) => chunk.index)).to.deep.equal([1]);
        expect(await files.chunksAt(file.id, [])).to.deep.equal([]);
        expect(await files.chunksAt(fileId('dead'), [0])).to.deep.equal([]);
      });

      it('take many grants in one step', async () => {
        const places = Array.from({ length: 2000 }, () => [A, B, C]);
        const { id } = await openUpload(files, places);
        expect(await files.uploadChunks(id)).to.have.length(2000);
        expect((await files.writingBytes()).get(B)).to.equal(2000 * CHUNK_SIZE_BYTES);
      });

      it('hold room for no more than what was announced, and a full chunk where nothing was', async () => {
        const announced = async (expectedSize: number, chunks: number): Promise<void> => {
          const file = uploadingFile();
          const upload = { ...uploadOf(file), expectedSize };
          await files.openUpload(file, upload);
          const placed = Array.from({ length: chunks }, (_none, index) => placedChunk(index, [A]));
          await files.recordGrants(upload.id, { received: [], moved: [], placed, expiresAt: 1000 });
        };
        await announced(1, 1);
        expect((await files.writingBytes()).get(A)).to.equal(1);
        await announced(CHUNK_SIZE_BYTES + 7, 2);
        expect((await files.writingBytes()).get(A)).to.equal(CHUNK_SIZE_BYTES + 8);
        // One more than the size has room for: more comes than was announced.
        await announced(7, 2);
        expect((await files.writingBytes()).get(A)).to.equal(2 * CHUNK_SIZE_BYTES + 15);
        await announced(0, 2);
        expect((await files.writingBytes()).get(A)).to.equal(4 * CHUNK_SIZE_BYTES + 15);
      });

      it('are counted by user and in all, and renewed together', async () => {
        const before = await files.countUploads('somebody');
        const mine = await openUpload(files, [], { owner: 'somebody' });
        const another = await openUpload(files, [], { owner: 'another' });
        expect(await files.countUploads('somebody')).to.deep.equal({ own: before.own + 1, all: before.all + 2 });
        expect(await files.countUploads('nobody')).to.include({ own: 0 });
        await files.renewUploads(777_000);
        for (const { id } of [mine, another]) expect(await files.getUpload(id)).to.deep.include({ expiresAt: 777_000 });
        await files.commitUpload(mine.id, { received: [], size: 0, chunksCount: 0 });
        expect(await files.countUploads('somebody')).to.deep.equal({ own: before.own, all: before.all + 1 });
      });

      it('record receipts copy by copy', async () => {
        const upload = await openUpload(files, [[A, B]]);
        const grant = (received: ReceivedChunk[]) =>
          files.recordGrants(upload.id, { received, moved: [], placed: [], expiresAt: 1000 });
        await grant([{ ...receiptOf(upload, 0, 7), nodeIds: [B] }]);
        expect((await files.uploadChunks(upload.id))[0]).to.deep.include({
          size: 7,
          md5: MD5,
          replicas: [
            { nodeId: A, state: 'writing' },
            { nodeId: B, state: 'ready' },
          ],
        });
        expect([...(await files.writingBytes())]).to.deep.equal([[A, CHUNK_SIZE_BYTES]]);
        await grant([{ ...receiptOf(upload, 0, 7), nodeIds: [A] }]);
        expect([...(await files.writingBytes())]).to.deep.equal([]);
      });

      it('move a chunk: its old copy is doomed, its new one is to be written', async () => {
        const { id, chunks } = await openUpload(files, [[A, B]]);
        const moved = [{ chunkId: chunks[0]!.id, from: [A], to: [C] }];
        await files.recordGrants(id, { received: [], moved, placed: [], expiresAt: 1000 });
        expect((await files.uploadChunks(id))[0]?.replicas).to.deep.equal([
          { nodeId: A, state: 'deleting' },
          { nodeId: B, state: 'writing' },
          { nodeId: C, state: 'writing' },
        ]);
        expect(await files.doomedReplicas(10)).to.deep.equal([{ chunkId: chunks[0]!.id, nodeId: A }]);
        await files.forgetReplicas([{ chunkId: chunks[0]!.id, nodeId: A }]);
        expect((await files.uploadChunks(id))[0]?.replicas.map((copy) => copy.nodeId)).to.deep.equal([B, C]);
      });

      it('do not move what has been stored meanwhile', async () => {
        const upload = await openUpload(files, [[A]]);
        const received = [receiptOf(upload, 0)];
        await files.recordGrants(upload.id, { received, moved: [], placed: [], expiresAt: 1000 });
        const moved = [{ chunkId: upload.chunks[0]!.id, from: [A], to: [B] }];
        const late = () => files.recordGrants(upload.id, { received: [], moved, placed: [], expiresAt: 1000 });
        expect(await codeOf(late)).to.equal('aborted');
      });

      it('that are not there take nothing', async () => {
        const change = { received: [], moved: [], placed: [placedChunk(0, [A])], expiresAt: 1000 };
        expect(await codeOf(() => files.recordGrants(newUploadId(), change))).to.equal('not_found');
        expect(await files.uploadChunks(newUploadId())).to.deep.equal([]);
      });
    });

    describe('publishing', () => {
      it('shows the file from then on, and ends the upload', async () => {
        const upload = await openUpload(files, [[A], [B]]);
        const received = [receiptOf(upload, 0), receiptOf(upload, 1, 5)];
        const size = CHUNK_SIZE_BYTES + 5;
        const file = await files.commitUpload(upload.id, { received, size, chunksCount: 2 });
        expect(file).to.deep.equal({ ...upload.file, size, chunksCount: 2, status: 'ready' });
        expect(await files.getFile(file.id)).to.deep.equal(file);
        expect(await files.listFiles({ limit: 10 })).to.deep.equal([file]);
        expect(await files.getUpload(upload.id)).to.equal(undefined);
        const again = () => files.commitUpload(upload.id, { received: [], size, chunksCount: 2 });
        expect(await codeOf(again)).to.equal('not_found');
      });

      it('takes an empty file', async () => {
        const upload = await openUpload(files, []);
        const file = await files.commitUpload(upload.id, { received: [], size: 0, chunksCount: 0 });
        expect(file).to.deep.include({ size: 0, chunksCount: 0, status: 'ready' });
      });

      it('dooms grants that were not used and copies that were not signed for', async () => {
        const upload = await openUpload(files, [[A, B], [B], [C]]);
        const received = [{ ...receiptOf(upload, 0, 5), nodeIds: [A] }, receiptOf(upload, 2)];
        await files.commitUpload(upload.id, { received, size: 5, chunksCount: 1 });
        const doomed = await files.doomedReplicas(10);
        const expected = [
          { chunkId: upload.chunks[0]!.id, nodeId: B },
          { chunkId: upload.chunks[1]!.id, nodeId: B },
          { chunkId: upload.chunks[2]!.id, nodeId: C },
        ];
        expect(doomed).to.have.deep.members(expected);
        expect([...(await files.writingBytes())]).to.deep.equal([]);
        await files.forgetReplicas(doomed);
        expect(await files.chunksAt(upload.file.id, [0, 1, 2])).to.have.length(1);
      });

      const refusals: [string, number, (upload: OpenedUpload) => Parameters<FileStore['commitUpload']>[1]][] = [
        ['a chunk without a receipt', 1, (u) => ({ received: [receiptOf(u, 0)], size: 20, chunksCount: 2 })],
        [
          'a chunk that was never granted',
          2,
          (u) => ({ received: [receiptOf(u, 0), receiptOf(u, 1)], size: 3 * CHUNK_SIZE_BYTES, chunksCount: 3 }),
        ],
        [
          'a short chunk before the last',
          0,
          (u) => ({ received: [receiptOf(u, 0, 5), receiptOf(u, 1, 5)], size: 10, chunksCount: 2 }),
        ],
      ];
      for (const [what, index, change] of refusals) {
        it(`refuses ${what}, naming it, and changes nothing`, async () => {
          const upload = await openUpload(files, [[A], [B]]);
          const error = await errorOf(() => files.commitUpload(upload.id, change(upload)));
          expect(error).to.deep.include({ code: 'failed_precondition', details: { chunk: index } });
          expect(await files.getUpload(upload.id)).to.not.equal(undefined);
          expect((await files.uploadChunks(upload.id))[0]?.size).to.equal(0);
          expect(await files.listFiles({ limit: 10 })).to.deep.equal([]);
        });
      }

      it('refuses sizes that do not add up', async () => {
        const upload = await openUpload(files, [[A]]);
        const change = { received: [receiptOf(upload, 0, 5)], size: 6, chunksCount: 1 };
        expect(await codeOf(() => files.commitUpload(upload.id, change))).to.equal('failed_precondition');
      });

      it('and expiry at once: one wins', async () => {
        const upload = await openUpload(files, [[A]]);
        const received = [receiptOf(upload, 0, 5)];
        const [committed, expired] = await Promise.all([
          codeOf(() => files.commitUpload(upload.id, { received, size: 5, chunksCount: 1 })),
          files.expireUpload(upload.id, 2000),
        ]);
        expect(committed === 'accepted').to.equal(!expired);
        expect(await files.listFiles({ limit: 10 })).to.have.length(expired ? 0 : 1);
        expect(await files.doomedReplicas(10)).to.have.length(expired ? 1 : 0);
      });
    });

    describe('undoing', () => {
      it('an upload dooms all its copies, and twice is as good as once', async () => {
        const upload = await openUpload(files, [[A, B], [C]]);
        await files.recordGrants(upload.id, {
          received: [receiptOf(upload, 0)],
          moved: [],
          placed: [],
          expiresAt: 1000,
        });
        await files.abortUpload(upload.id);
        await files.abortUpload(upload.id);
        expect(await files.getUpload(upload.id)).to.equal(undefined);
        expect(await files.getFile(upload.file.id)).to.equal(undefined);
        expect(await files.doomedReplicas(10)).to.have.length(3);
        expect([...(await files.doomedNodes())].sort()).to.deep.equal([A, B, C]);
      });

      it('happens to uploads that have expired, not to those that live on', async () => {
        const old = await openUpload(files, [[A]]);
        const renewed = await openUpload(files, [[B]]);
        const change = { received: [], moved: [], placed: [], expiresAt: 5000 };
        expect([...(await files.expiredUploads(1000))].sort()).to.deep.equal([old.id, renewed.id].sort());
        expect(await files.expiredUploads(999)).to.deep.equal([]);
        await files.recordGrants(renewed.id, change);
        expect(await files.expireUpload(renewed.id, 1000)).to.equal(false);
        expect(await files.expireUpload(old.id, 1000)).to.equal(true);
        expect(await files.expireUpload(old.id, 1000)).to.equal(false);
        expect(await files.getUpload(renewed.id)).to.deep.include({ expiresAt: 5000 });
        expect(await files.expiredUploads(1000)).to.deep.equal([]);
        expect(await files.expireUpload('0'.repeat(32) as UploadId, 1000)).to.equal(false);
      });
    });

    describe('the catalogue', () => {
      it('finds by unique prefix, and tells an ambiguous one', async () => {
        const [one, two] = [fileId('ab1'), fileId('ab2')];
        await storeFile(files, [[A]], { id: two });
        await storeFile(files, [[A]], { id: one });
        await storeFile(files, [[A]], { id: fileId('abf') });
        await storeFile(files, [[A]], { id: fileId('ac') });
        const found = async (prefix: string) => (await files.findFiles(prefix)).map((file) => file.id);
        expect(await found('ab1')).to.deep.equal([one]);
        expect(await found(one)).to.deep.equal([one]);
        expect(await found('ab')).to.deep.equal([one, two]);
        expect(await found('b')).to.deep.equal([]);
      });

      it('finds raw files by their whole name, the newest first', async () => {
        const named = (id: string, name: string, createdAt: number) =>
          storeFile(files, [[A]], { id: fileId(id), name, createdAt });
        await named('1', 'big.iso', 1);
        await named('2', 'big.iso', 3);
        await named('3', 'big.iso2', 2);
        const found = async (name: string, limit: number, owner?: string) =>
          (await files.filesNamed(name, limit, owner)).map((file) => file.id);
        expect(await found('big.iso', 5)).to.deep.equal([fileId('2'), fileId('1')]);
        expect(await found('big.iso', 1)).to.deep.equal([fileId('2')]);
        expect(await found('big.iso', 5, 'nobody')).to.deep.equal([]);
        expect(await found("' OR 1=1 --", 5)).to.deep.equal([]);
      });

      for (const prefix of ['', '%', '_', "' OR 1=1 --", 'AB', '../x']) {
        it(`finds nothing for ${JSON.stringify(prefix)}`, async () => {
          await storeFile(files, [[A]], { id: fileId('ab') });
          expect(await files.findFiles(prefix)).to.deep.equal([]);
        });
      }

      it('is listed by time and id, page by page', async () => {
        const ids = ['a3', 'a1', 'a2', 'a5', 'a4'].map(fileId);
        for (const [at, id] of ids.entries()) await storeFile(files, [[A]], { id, createdAt: at < 3 ? 100 : 50 });
        const listed: string[] = [];
        for (let page = await files.listFiles({ limit: 2 }); page.length > 0;) {
          listed.push(...page.map((file) => file.id));
          page = await files.listFiles({ limit: 2, after: page.at(-1) });
        }
        expect(listed).to.deep.equal(['a4', 'a5', 'a1', 'a2', 'a3'].map(fileId));
      });

      it('gives chunks by page', async () => {
        const { file, chunkIds } = await storeFile(files, [[A], [B], [C], [A]]);
        const ids = async (from: number, count: number) =>
          (await files.chunks(file.id, { from, count })).map((chunk) => chunk.id);
        expect(await ids(0, 2)).to.deep.equal(chunkIds.slice(0, 2));
        expect(await ids(3, 10)).to.deep.equal(chunkIds.slice(3));
        expect(await ids(4, 10)).to.deep.equal([]);
      });

      it('loses a removed file at once, its copies when they are confirmed', async () => {
        const { file, chunkIds } = await storeFile(files, [[A, B], [C]]);
        expect(await files.removeFile(file.id)).to.deep.equal(file);
        expect(await files.getFile(file.id)).to.equal(undefined);
        expect(await codeOf(() => files.removeFile(file.id))).to.equal('not_found');
        const onA = { chunkId: chunkIds[0]!, nodeId: A };
        expect(await files.doomedReplicas(10, A)).to.deep.equal([onA]);
        expect(await files.doomedReplicas(2)).to.have.length(2);
        await files.forgetReplicas([onA]);
        expect(await files.chunksAt(file.id, [0, 1])).to.have.length(2);
        await files.forgetReplicas(await files.doomedReplicas(10));
        expect(await files.chunksAt(file.id, [0, 1])).to.deep.equal([]);
        expect(await files.doomedNodes()).to.deep.equal([]);
      });

      it('forgets only copies that are doomed', async () => {
        const { file, chunkIds } = await storeFile(files, [[A]]);
        await files.forgetReplicas([{ chunkId: chunkIds[0]!, nodeId: A }]);
        await files.forgetReplicas([{ chunkId: '0'.repeat(32) as ChunkId, nodeId: A }]);
        expect((await files.chunks(file.id, { from: 0, count: 1 }))[0]?.replicas).to.have.length(1);
      });
    });

    describe('nodes that go', () => {
      it('files that are on one node alone are known', async () => {
        const alone = await storeFile(files, [[A], [B]]);
        await storeFile(files, [[A, B]]);
        await openUpload(files, [[A]]);
        expect((await files.filesOnlyOn(A, [A, B, C])).map((file) => file.id)).to.deep.equal([alone.file.id]);
        expect(await files.filesOnlyOn(C, [A, B])).to.deep.equal([]);
        expect(await files.filesOnlyOn(A, [])).to.have.length(2);
      });

      it('take their copies with them; the files stay, and show what is missing', async () => {
        const { file } = await storeFile(files, [[A], [A, B]], { replicas: 1 });
        const removed = await storeFile(files, [[A]]);
        await files.removeFile(removed.file.id);
        await files.forgetNode(A);
        expect((await files.chunks(file.id, { from: 0, count: 9 })).map((chunk) => chunk.replicas)).to.deep.equal([
          [],
          [{ nodeId: B, state: 'ready' }],
        ]);
        expect(await files.doomedReplicas(10)).to.deep.equal([]);
        expect(await files.chunksAt(removed.file.id, [0])).to.deep.equal([]);
        expect((await files.totals()).underReplicated).to.equal(1);
      });
    });

    it('a chunk of an upload whose only node has gone can be placed anew', async () => {
      const upload = await openUpload(files, [[A]]);
      await files.forgetNode(A);
      expect((await files.uploadChunks(upload.id)).map((chunk) => chunk.replicas)).to.deep.equal([[]]);
      const moved = [{ chunkId: upload.chunks[0]!.id, from: [], to: [B] }];
      await files.recordGrants(upload.id, { received: [], moved, placed: [], expiresAt: 1000 });
      expect((await files.uploadChunks(upload.id))[0]?.replicas).to.deep.equal([{ nodeId: B, state: 'writing' }]);
    });

    describe('totals', () => {
      it('count what is published', async () => {
        expect(await files.totals()).to.deep.equal({
          files: 0,
          chunks: 0,
          bytes: 0,
          underReplicated: 0,
          pendingDeletes: 0,
        });
        await storeFile(files, [[A], [B]]);
        await storeFile(files, [[A, B]], { replicas: 2 });
        await storeFile(files, [[A]], { replicas: 2 });
        await openUpload(files, [[C]]);
        const gone = await storeFile(files, [[A, C]]);
        await files.removeFile(gone.file.id);
        expect(await files.totals()).to.deep.equal({
          files: 3,
          chunks: 4,
          bytes: CHUNK_SIZE_BYTES + 15,
          underReplicated: 1,
          pendingDeletes: 2,
        });
      });

      it('do not take an unused grant for a chunk that lacks copies', async () => {
        const upload = await openUpload(files, [[A], [B]]);
        await files.commitUpload(upload.id, { received: [receiptOf(upload, 0, 5)], size: 5, chunksCount: 1 });
        expect(await files.totals()).to.deep.include({ underReplicated: 0, pendingDeletes: 1 });
      });
    });
  });
}
