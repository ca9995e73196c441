import { expect } from 'chai';
import { deferred } from '../../shared/async/wait.js';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { publicKeyOf, signClaims, generateSigningKey, verifyChunkToken } from '../../shared/chunk-token.js';
import type { NodeId, UploadId } from '../../shared/ids.js';
import { newFileId, newUploadId } from '../../shared/ids.js';
import {
  CHUNK_SIZE_BYTES,
  CHUNK_TOKEN_TTL_MS,
  MAX_NAMED_CHUNKS,
  MAX_OPEN_UPLOADS_PER_USER,
} from '../../shared/limits.js';
import { NODE_RESERVE_BYTES } from '../../controller/file/plan.js';
import type { ChunkGrant } from '../../controller/file/upload.js';
import { codeOf, errorOf } from '../support/codes.js';
import { FileBench, UPLOAD_TTL_MS } from '../support/files.js';

const spaceFor = (chunks: number): number => NODE_RESERVE_BYTES + chunks * CHUNK_SIZE_BYTES;
const namesOf = (grant: ChunkGrant | undefined): string[] => (grant?.targets ?? []).map((target) => target.nodeName);

describe('uploads', () => {
  let bench: FileBench;

  beforeEach(() => {
    bench = new FileBench();
  });

  describe('opening', () => {
    it('takes the default number of copies', async () => {
      const { upload } = await bench.files.uploads.open({ name: 'a', replicas: 0, expectedSize: 0, owner: 'ann' });
      expect(upload).to.deep.include({ replicas: 1, granted: 0, expiresAt: bench.nowMs + UPLOAD_TTL_MS });
      expect(await bench.store.files.getFile(upload.fileId)).to.deep.include({ owner: 'ann', status: 'uploading' });
    });

    it('is refused at once when the size does not fit, and leaves nothing', async () => {
      for (const { id } of bench.nodes.snapshot()) bench.nodes.change(id, { freeBytes: spaceFor(2) });
      expect(await codeOf(() => bench.open(1, 6 * CHUNK_SIZE_BYTES))).to.equal('accepted');
      expect(await codeOf(() => bench.open(1, 6 * CHUNK_SIZE_BYTES + 1))).to.equal('resource_exhausted');
      expect(await bench.store.files.expiredUploads(Infinity)).to.have.length(1);
    });

    it('is refused without a node, and with fewer nodes than copies', async () => {
      expect(await codeOf(() => bench.open(4))).to.equal('failed_precondition');
      for (const { id } of bench.nodes.snapshot()) bench.nodes.takeDown(id);
      const error = await errorOf(() => bench.open());
      expect(error.code).to.equal('failed_precondition');
      expect(inCommandWords(error)).to.include('nexus node create');
    });
  });

  describe('grants', () => {
    it('carry tokens for exactly one node, chunk and operation; the first names the others', async () => {
      const [grant] = await bench.grant(await bench.open(3), 1);
      const key = publicKeyOf(bench.signer.publicKey);
      const use = (target: ChunkGrant['targets'][number]) =>
        ({ op: 'write', chunk: grant!.chunkId, node: target.nodeId, nowMs: bench.nowMs }) as const;
      const claims = grant!.targets.map((target) => verifyChunkToken(target.token, key, use(target)));
      const [first, ...others] = grant!.targets;
      expect(new Set(grant!.targets.map((target) => target.nodeId)).size).to.equal(3);
      expect(claims[0]?.forward).to.deep.equal(
        others.map(({ nodeId, address, token }) => ({ node: nodeId, address, token })),
      );
      expect(claims[1]?.forward).to.equal(undefined);
      expect(claims[0]).to.deep.include({ size: CHUNK_SIZE_BYTES, exp: bench.nowMs + CHUNK_TOKEN_TTL_MS });
      expect(await codeOf(() => verifyChunkToken(first!.token, key, use(others[0]!)))).to.equal('permission_denied');
    });

    it('tell each agent which part of which file its chunk is', async () => {
      const id = await bench.open(2);
      const key = publicKeyOf(bench.signer.publicKey);
      const file = await bench.store.files.getFile((await bench.store.files.getUpload(id))!.fileId);
      for (const grant of await bench.grant(id, 2)) {
        for (const { nodeId, token } of grant.targets) {
          const use = { op: 'write', chunk: grant.chunkId, node: nodeId, nowMs: bench.nowMs } as const;
          const { name, owner, replicas, createdAt: created } = file!;
          const origin = { file: file!.id, index: grant.index, name, owner, replicas, expected: 0, created };
          expect(verifyChunkToken(token, key, use).of).to.deep.equal(origin);
        }
      }
    });

    it('of explicit sizes are for exactly those, one after the other', async () => {
      const { uploads } = bench.files;
      const opening = { name: 'a', replicas: 1, expectedSize: 0, owner: 'ann', explicitSizes: true };
      const { upload, file } = await uploads.open(opening);
      const ask = (sizes: number[], fromIndex?: number): Promise<ChunkGrant[]> =>
        uploads.grant(upload.id, { count: sizes.length, sizes, fromIndex, retry: [], receipts: [] });
      await ask([1, 5000]);
      const [third] = await ask([CHUNK_SIZE_BYTES]);
      const [second, again, fourth] = await ask([5000, CHUNK_SIZE_BYTES, 3], 1);
      expect([second, again, fourth].map((grant) => grant?.index)).to.deep.equal([1, 2, 3]);
      expect(again?.chunkId).to.equal(third?.chunkId);
      const key = publicKeyOf(bench.signer.publicKey);
      const claimsOf = ({ targets, chunkId }: ChunkGrant) =>
        verifyChunkToken(targets[0]!.token, key, {
          op: 'write',
          chunk: chunkId,
          node: targets[0]!.nodeId,
          nowMs: bench.nowMs,
        });
      expect([second, again, fourth].map((grant) => claimsOf(grant!).size)).to.deep.equal([5000, CHUNK_SIZE_BYTES, 3]);
      expect([second, fourth].map((grant) => claimsOf(grant!).of?.offset)).to.deep.equal([1, 5001 + CHUNK_SIZE_BYTES]);
      for (const [sizes, from] of [
        [[4999], 1],
        [[], 4],
      ] as const)
        expect(
          await codeOf(() => uploads.grant(upload.id, { count: 1, sizes, fromIndex: from, retry: [], receipts: [] })),
        ).to.equal('invalid_argument');
      const parts = (await bench.store.files.uploadChunks(upload.id)).map(({ offset, size }) => [offset, size]);
      expect(parts).to.deep.equal([
        [0, 1],
        [1, 5000],
        [5001, CHUNK_SIZE_BYTES],
        [5001 + CHUNK_SIZE_BYTES, 3],
      ]);
      const receipt = (grant: ChunkGrant, size: number) => ({
        index: grant.index,
        receipt: bench.nodes.receipt(grant.targets[0]!.nodeId as NodeId, grant.chunkId, size),
      });
      const short = { count: 0, retry: [], receipts: [receipt(fourth!, 2)] };
      expect(await codeOf(() => uploads.grant(upload.id, short))).to.equal('invalid_argument');
      const [first] = await uploads.grant(upload.id, { count: 1, sizes: [1], fromIndex: 0, retry: [], receipts: [] });
      const receipts = [
        receipt(first!, 1),
        receipt(second!, 5000),
        receipt(again!, CHUNK_SIZE_BYTES),
        receipt(fourth!, 3),
      ];
      const size = 5004 + CHUNK_SIZE_BYTES;
      const stored = await bench.files.commit(upload.id, { size, chunksCount: 4, receipts });
      expect(stored).to.deep.include({ id: file.id, explicitSizes: true, size });
      const ranges = [
        [0, 1, 0, 1],
        [1, 2, 1, 2],
        [0, 5002, 0, 3],
        [size - 3, size + 100, 3, 4],
        [7, 7, 0, 0],
      ] as const;
      for (const [start, end, from, until] of ranges)
        expect(await bench.files.catalogue.chunksOf(file.id, { start, end }), `${start}-${end}`).to.deep.equal({
          from,
          until,
        });
    });

    it('of explicit sizes keep to the size that was announced, and to a number', async () => {
      const { uploads } = bench.files;
      const opening = { name: 'a', replicas: 1, expectedSize: 10, owner: 'ann', explicitSizes: true };
      const { upload, file } = await uploads.open(opening);
      const ask = (sizes: number[]): Promise<ChunkGrant[]> =>
        uploads.grant(upload.id, { count: sizes.length, sizes, retry: [], receipts: [] });
      expect(await ask([4, 3])).to.have.length(2);
      expect(await codeOf(() => ask([4]))).to.equal('failed_precondition');
      expect(await ask([3])).to.have.length(1);
      expect((await bench.store.fs.account('ann'))?.reserved).to.equal(10);
      const many = {
        ...upload,
        id: newUploadId(),
        fileId: newFileId(),
        expectedSize: 0,
        granted: MAX_NAMED_CHUNKS - 1,
      };
      await bench.store.files.openUpload({ ...file, id: many.fileId }, many);
      const grant = (sizes: number[]): Promise<ChunkGrant[]> =>
        uploads.grant(many.id, { count: sizes.length, sizes, retry: [], receipts: [] });
      expect(await codeOf(() => grant([1, 1]))).to.equal('invalid_argument');
      expect(await grant([1])).to.have.length(1);
    });

    it('of explicit sizes may be none: the file is empty', async () => {
      const opening = { name: 'a', replicas: 1, expectedSize: 0, owner: 'ann', explicitSizes: true };
      const { upload, file } = await bench.files.uploads.open(opening);
      const stored = await bench.files.commit(upload.id, { size: 0, chunksCount: 0, receipts: [] });
      expect(stored).to.deep.include({ size: 0, chunksCount: 0, status: 'ready' });
      const none = await bench.files.catalogue.chunksOf(file.id, { start: 0, end: 9 });
      expect(none).to.deep.equal({ from: 0, until: 0 });
    });

    it('of an upload without explicit sizes name none', async () => {
      const id = await bench.open();
      const request = { count: 1, sizes: [5], retry: [], receipts: [] };
      expect(await codeOf(() => bench.files.uploads.grant(id, request))).to.equal('invalid_argument');
    });

    it('are numbered on, and go on round the nodes over uploads', async () => {
      const one = await bench.open();
      const two = await bench.open();
      const granted = [...(await bench.grant(one, 2)), ...(await bench.grant(two, 2)), ...(await bench.grant(one, 2))];
      expect(granted.map((grant) => grant.index)).to.deep.equal([0, 1, 0, 1, 2, 3]);
      expect(granted.flatMap(namesOf)).to.deep.equal([0, 1, 2, 0, 1, 2].map((slot) => `node-${slot}`));
    });

    it('at once on one upload have different indexes', async () => {
      const id = await bench.open();
      const granted = (await Promise.all(Array.from({ length: 8 }, () => bench.grant(id, 3)))).flat();
      const indexes = granted.map((grant) => grant.index).sort((one, other) => one - other);
      expect(indexes).to.deep.equal(Array.from({ length: 24 }, (_, index) => index));
    });

    it('at once never promise the same room twice', async () => {
      for (const { id } of bench.nodes.snapshot()) bench.nodes.change(id, { freeBytes: spaceFor(2) });
      const uploads = await Promise.all([bench.open(), bench.open(), bench.open()]);
      const granted = await Promise.all(uploads.map((id) => bench.grant(id, 4).catch(() => [])));
      expect(granted.flat()).to.have.length(6);
    });

    it('give the promised room back with the receipts, when the report shows what has been stored', async () => {
      for (const { id } of bench.nodes.snapshot()) bench.nodes.change(id, { freeBytes: spaceFor(1) });
      const id = await bench.open();
      const granted = await bench.grant(id, 8);
      expect(granted).to.have.length(3);
      expect(await codeOf(() => bench.grant(id, 1))).to.equal('resource_exhausted');
      expect(await bench.grant(id, 1, bench.receiptsOf(granted[0]!))).to.have.length(1);
    });

    it('do not promise room that was filled since the last report', async () => {
      const single = new FileBench(1);
      const node = single.id(0);
      const grantStored = async (at: number): Promise<number> => {
        const id = await single.open();
        const [grant, ...more] = await single.grant(id, 8);
        const receipt = single.nodes.receipt(node, grant!.chunkId, CHUNK_SIZE_BYTES, 'a'.repeat(32), at);
        await single.files.commit(id, { size: CHUNK_SIZE_BYTES, chunksCount: 1, receipts: [{ index: 0, receipt }] });
        await single.maintenance.tick(new AbortController().signal);
        return 1 + more.length;
      };
      const reportedAt = single.nowMs - 1000;
      single.nodes.change(node, { freeBytes: spaceFor(3), reportedAt });
      expect(await grantStored(reportedAt + 500)).to.equal(3);
      expect(await grantStored(reportedAt + 600)).to.equal(2);
      single.nodes.change(node, { freeBytes: spaceFor(2), reportedAt: reportedAt + 550 });
      expect(await grantStored(reportedAt + 600)).to.equal(1);
      single.nodes.change(node, { freeBytes: spaceFor(9), reportedAt: reportedAt + 5000 });
      expect(await grantStored(reportedAt + 600)).to.equal(8);
    });

    it('hold nothing back for long because of a clock that is ahead', async () => {
      const single = new FileBench(1);
      single.nodes.change(single.id(0), { freeBytes: spaceFor(1), reportedAt: single.nowMs });
      const id = await single.open();
      const [grant] = await single.grant(id, 1);
      single.nowMs += 10;
      const receipt = single.nodes.receipt(single.id(0), grant!.chunkId, CHUNK_SIZE_BYTES, 'a'.repeat(32), 2 ** 50);
      expect(await codeOf(() => single.grant(id, 1, [{ index: 0, receipt }]))).to.equal('resource_exhausted');
      await single.grant(id, 0, [{ index: 0, receipt }]);
      expect(await codeOf(() => single.grant(id, 1))).to.equal('resource_exhausted');
      single.nodes.change(single.id(0), { reportedAt: single.nowMs });
      expect(await single.grant(id, 1)).to.have.length(1);
    });

    it('put the expiry off', async () => {
      const id = await bench.open();
      bench.nowMs += UPLOAD_TTL_MS - 1;
      await bench.grant(id, 0);
      bench.nowMs += UPLOAD_TTL_MS - 1;
      await bench.maintenance.tick(new AbortController().signal);
      expect(await bench.grant(id, 1)).to.have.length(1);
    });

    it('that are asked for again, because the reply was lost, are the same chunks', async () => {
      const id = await bench.open();
      const first = await bench.files.uploads.grant(id, { count: 2, fromIndex: 0, retry: [], receipts: [] });
      const again = await bench.files.uploads.grant(id, { count: 3, fromIndex: 0, retry: [], receipts: [] });
      expect(again.map(({ index }) => index)).to.deep.equal([0, 1, 2]);
      expect(again.slice(0, 2).map(({ chunkId }) => chunkId)).to.deep.equal(first.map(({ chunkId }) => chunkId));
      const next = await bench.files.uploads.grant(id, { count: 1, fromIndex: 3, retry: [], receipts: [] });
      expect(next.map(({ index }) => index)).to.deep.equal([3]);
    });

    it('allow no more bytes than were announced, and promise no more room', async () => {
      const single = new FileBench(1);
      // Room for one chunk beside what stays free: a full chunk for each would leave none for the second.
      single.nodes.change(single.id(0), { freeBytes: spaceFor(1) + 1000 });
      for (let number = 0; number < 72; number += 1) {
        const [grant] = await single.grant(await single.open(1, 1), 1);
        const key = publicKeyOf(single.signer.publicKey);
        const use = { op: 'write', chunk: grant!.chunkId, node: single.id(0), nowMs: single.nowMs } as const;
        expect(verifyChunkToken(grant!.targets[0]!.token, key, use).size).to.equal(1);
      }
      expect(await single.grant(await single.open(), 1)).to.have.length(1);
    });

    it('of too many open uploads of one user are refused, until some end', async () => {
      const ids: UploadId[] = [];
      for (let number = 0; number < MAX_OPEN_UPLOADS_PER_USER; number += 1) ids.push(await bench.open());
      const refused = await errorOf(() => bench.open());
      expect(refused).to.include({ code: 'resource_exhausted' });
      expect(refused.message).to.include(`you have ${MAX_OPEN_UPLOADS_PER_USER} uploads open`);
      const other = { name: 'a', replicas: 1, expectedSize: 0, owner: 'alice' };
      expect(await codeOf(() => bench.files.uploads.open(other))).to.equal('accepted');
      await bench.files.abort(ids[0]!);
      expect(await codeOf(() => bench.open())).to.equal('accepted');
    });

    it('of senders that are gone after a restart of the controller give their room back soon', async () => {
      const [gone, there] = [await bench.open(), await bench.open()];
      for (const id of [gone, there]) await bench.grant(id, 2);
      bench.nowMs += 10 * UPLOAD_TTL_MS;
      await bench.files.uploads.renewAll();
      bench.nowMs += UPLOAD_TTL_MS - 1;
      await bench.grant(there, 0);
      bench.nowMs += 1;
      await bench.maintenance.tick(new AbortController().signal);
      expect(await bench.store.files.getUpload(gone)).to.equal(undefined);
      expect(await bench.grant(there, 1)).to.have.length(1);
      expect((await bench.store.fs.account('admin'))?.reserved).to.equal(3 * CHUNK_SIZE_BYTES);
    });

    it('that wait for their turn longer than a lease lasts are given, and the upload stays', async () => {
      const id = await bench.open();
      const before = await bench.open();
      const turn = deferred();
      const asked = deferred();
      const { files } = bench.store;
      const look = files.getUpload.bind(files);
      files.getUpload = async (upload) => {
        asked.resolve();
        await turn.promise;
        return await look(upload);
      };
      const first = bench.grant(before, 1);
      await asked.promise;
      const waiting = bench.grant(id, 1);
      bench.nowMs += 2 * UPLOAD_TTL_MS;
      await bench.maintenance.tick(new AbortController().signal);
      turn.resolve();
      expect(await first).to.have.length(1);
      expect(await waiting).to.have.length(1);
      expect(await bench.store.files.expiredUploads(bench.nowMs)).to.deep.equal([]);
    });

    it('are refused when the upload has expired, swept or not, or never was', async () => {
      const id = await bench.open();
      bench.nowMs += UPLOAD_TTL_MS;
      expect(await codeOf(() => bench.grant(id, 1))).to.equal('not_found');
      expect(await codeOf(() => bench.grant(newUploadId(), 1))).to.equal('not_found');
    });

    it('that could not be recorded use up no index and hand out nothing', async () => {
      const id = await bench.open();
      bench.store.failNextWrites(1);
      expect(await codeOf(() => bench.grant(id, 2))).to.equal('resource_exhausted');
      expect((await bench.grant(id, 2)).map((grant) => grant.index)).to.deep.equal([0, 1]);
    });
  });

  describe('a node that fails', () => {
    it('costs its chunk a new place, and the old copy is deleted', async () => {
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      const failed = grant!.targets[0]!.nodeId;
      const [again] = await bench.retry(id, 0, [failed]);
      expect(again).to.deep.include({ index: 0, chunkId: grant!.chunkId });
      expect(again!.targets.map((target) => target.nodeId)).to.not.include(failed);
      expect(await bench.store.files.doomedReplicas(10)).to.deep.equal([{ chunkId: grant!.chunkId, nodeId: failed }]);
    });

    it('leaves the copies that are fine where they are', async () => {
      const id = await bench.open(2);
      const [grant] = await bench.grant(id, 1);
      const [failed, fine] = namesOf(grant);
      const [again] = await bench.retry(id, 0, [grant!.targets[0]!.nodeId]);
      expect(namesOf(again)).to.have.length(2).and.include(fine).and.not.include(failed);
      await bench.grant(id, 0, bench.receiptsOf(grant!).slice(1));
      const [chunk] = await bench.store.files.uploadChunks(id);
      expect(chunk?.replicas.map((copy) => copy.state).sort()).to.deep.equal(['deleting', 'ready', 'writing']);
    });

    it('costs nothing but its own copy when the receipts of the others come with the news', async () => {
      const id = await bench.open(2);
      const [grant] = await bench.grant(id, 1);
      const [receipt] = bench.receiptsOf(grant!);
      const retry = [{ index: 0, failedNodeIds: [grant!.targets[1]!.nodeId] }];
      const [again] = await bench.files.uploads.grant(id, { count: 0, retry, receipts: [receipt!] });
      expect(namesOf(again)).to.deep.equal(['node-2']);
    });

    it('and the next one, and then there is none left', async () => {
      const id = await bench.open();
      const failed = namesOf((await bench.grant(id, 1))[0]).map((_, slot) => bench.id(slot));
      for (let time = 0; time < 2; time += 1) {
        const [again] = await bench.retry(id, 0, failed);
        failed.push(again!.targets[0]!.nodeId as NodeId);
      }
      expect(new Set(failed).size).to.equal(3);
      expect(await codeOf(() => bench.retry(id, 0, failed))).to.equal('unavailable');
    });

    it('and has gone away altogether is replaced without being named', async () => {
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      bench.nodes.forget(grant!.targets[0]!.nodeId as NodeId);
      const [again] = await bench.retry(id, 0, []);
      expect(namesOf(again)).to.have.length(1).and.not.include(namesOf(grant)[0]);
    });

    it('and was removed with all it had: the chunk is placed anew', async () => {
      const id = await bench.open(2);
      const [grant] = await bench.grant(id, 1);
      for (const target of grant!.targets) await bench.store.files.forgetNode(target.nodeId as NodeId);
      expect(namesOf((await bench.retry(id, 0, []))[0])).to.have.length(2);
    });

    it('none: the same places again, with fresh tokens', async () => {
      const id = await bench.open(2);
      const [grant] = await bench.grant(id, 1);
      bench.nowMs += 1000;
      const [again] = await bench.retry(id, 0, []);
      expect(namesOf(again)).to.have.members(namesOf(grant));
      expect(again!.targets[0]!.token).to.not.equal(grant!.targets[0]!.token);
      expect(await bench.store.files.doomedReplicas(10)).to.deep.equal([]);
    });

    it('is not believed to have failed with a chunk that is stored, granted to nobody, or named twice', async () => {
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      await bench.grant(id, 0, bench.receiptsOf(grant!));
      expect(await codeOf(() => bench.retry(id, 0, []))).to.equal('failed_precondition');
      expect(await codeOf(() => bench.retry(id, 9, []))).to.equal('invalid_argument');
      const twice = [
        { index: 0, failedNodeIds: [] },
        { index: 0, failedNodeIds: [] },
      ];
      const granting = bench.files.uploads.grant(id, { count: 0, retry: twice, receipts: [] });
      expect(await codeOf(() => granting)).to.equal('invalid_argument');
    });
  });

  describe('receipts', () => {
    const refused: [string, string, (grant: ChunkGrant, other: ChunkGrant) => string][] = [
      ['is no receipt at all', 'invalid_argument', () => 'nonsense'],
      ['is for another chunk', 'invalid_argument', (_, other) => bench.receiptsOf(other)[0]!.receipt],
      [
        'is from a node that was not granted the chunk',
        'invalid_argument',
        (grant) => bench.nodes.receipt(bench.id(2), grant.chunkId, 5),
      ],
      [
        'is signed by another key',
        'permission_denied',
        ({ chunkId }) =>
          signClaims({ chunk: chunkId, node: bench.id(0), size: 5, md5: 'a'.repeat(32), at: 0 }, generateSigningKey()),
      ],
      [
        'says more bytes than a chunk holds',
        'permission_denied',
        (grant) => bench.nodes.receipt(bench.id(0), grant.chunkId, CHUNK_SIZE_BYTES + 1),
      ],
      ['says no bytes', 'permission_denied', (grant) => bench.nodes.receipt(bench.id(0), grant.chunkId, 0)],
      ['has no real MD5', 'permission_denied', (grant) => bench.nodes.receipt(bench.id(0), grant.chunkId, 5, "'; --")],
    ];
    for (const [what, code, make] of refused) {
      it(`are refused when one ${what}`, async () => {
        const id = await bench.open();
        const [grant, other] = await bench.grant(id, 2);
        const receipts = [{ index: 0, receipt: make(grant!, other!) }];
        const error = await errorOf(() => bench.grant(id, 1, receipts));
        expect(error.code).to.equal(code);
        expect(await codeOf(() => bench.files.commit(id, { size: 5, chunksCount: 1, receipts }))).to.equal(code);
        expect((await bench.store.files.uploadChunks(id)).map((chunk) => chunk.size)).to.deep.equal([0, 0]);
      });
    }

    it('are refused when two of one chunk contradict each other, at once or one after the other', async () => {
      const id = await bench.open(2);
      const [grant] = await bench.grant(id, 1);
      const [one, two] = grant!.targets.map((target, at) => ({
        index: 0,
        receipt: bench.nodes.receipt(target.nodeId as NodeId, grant!.chunkId, 5 + at),
      }));
      expect(await codeOf(() => bench.grant(id, 0, [one!, two!]))).to.equal('invalid_argument');
      await bench.grant(id, 0, [one!]);
      expect(await codeOf(() => bench.grant(id, 0, [two!]))).to.equal('invalid_argument');
      expect((await bench.store.files.uploadChunks(id))[0]?.size).to.equal(5);
    });

    it('of a copy that was placed elsewhere meanwhile change nothing', async () => {
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      const late = bench.receiptsOf(grant!, 7);
      await bench.retry(id, 0, [grant!.targets[0]!.nodeId]);
      await bench.grant(id, 0, late);
      expect((await bench.store.files.uploadChunks(id))[0]).to.deep.include({ size: 0, md5: '' });
    });

    it('may be handed over twice', async () => {
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      const receipts = bench.receiptsOf(grant!, 5);
      await bench.grant(id, 0, [...receipts, ...receipts]);
      expect((await bench.files.commit(id, { size: 5, chunksCount: 1, receipts })).size).to.equal(5);
    });

    it('wait for a key that is not known yet', async () => {
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      bench.nodes.change(bench.id(0), { receiptKey: undefined });
      expect(await codeOf(() => bench.grant(id, 0, bench.receiptsOf(grant!)))).to.equal('unavailable');
    });
  });

  describe('commit', () => {
    it('publishes the file, tells it, and has unused grants deleted', async () => {
      const id = await bench.open();
      const grants = await bench.grant(id, 4);
      const receipts = [...bench.receiptsOf(grants[0]!), ...bench.receiptsOf(grants[1]!, 5)];
      const size = CHUNK_SIZE_BYTES + 5;
      const file = await bench.files.commit(id, { size, chunksCount: 2, receipts });
      expect(file).to.deep.include({ name: 'a.bin', size, chunksCount: 2, status: 'ready' });
      expect(await bench.store.files.doomedReplicas(10)).to.have.length(2);
      expect(bench.kicks).to.equal(1);
      expect((await bench.store.events.list(0)).map((event) => event.type)).to.deep.equal(['file.committed']);
    });

    it('happens once', async () => {
      const id = await bench.open();
      await bench.files.commit(id, { size: 0, chunksCount: 0, receipts: [] });
      const error = await errorOf(() => bench.files.commit(id, { size: 0, chunksCount: 0, receipts: [] }));
      expect(error.code).to.equal('not_found');
      expect(error.message).to.include('committed');
      expect(await codeOf(() => bench.grant(id, 1))).to.equal('not_found');
    });

    it('is refused without all receipts, and can be tried again with them', async () => {
      const id = await bench.open();
      const [grant] = await bench.grant(id, 1);
      const change = { size: 5, chunksCount: 1 };
      expect(await codeOf(() => bench.files.commit(id, { ...change, receipts: [] }))).to.equal('failed_precondition');
      const receipts = bench.receiptsOf(grant!, 5);
      expect(await codeOf(() => bench.files.commit(id, { ...change, receipts }))).to.equal('accepted');
    });

    it('is refused with another size than was announced', async () => {
      const id = await bench.open(1, 6);
      const [grant] = await bench.grant(id, 1);
      const commit = { size: 5, chunksCount: 1, receipts: bench.receiptsOf(grant!, 5) };
      const error = await errorOf(() => bench.files.commit(id, commit));
      expect(error).to.include({ code: 'failed_precondition' });
      expect(error.message).to.match(/^6 bytes were announced and 5 came/);
    });

    it('takes a chunk that one of its copies has failed for', async () => {
      const id = await bench.open(2);
      const [grant] = await bench.grant(id, 1);
      const receipts = bench.receiptsOf(grant!, 5).slice(0, 1);
      expect((await bench.files.commit(id, { size: 5, chunksCount: 1, receipts })).status).to.equal('ready');
      expect(await bench.store.files.totals()).to.deep.include({ underReplicated: 1, pendingDeletes: 1 });
    });
  });

  it('that are aborted leave their copies to be deleted at once, and may be aborted again', async () => {
    const id = await bench.open();
    await bench.grant(id, 3);
    await bench.files.abort(id);
    await bench.files.abort(id);
    expect(await bench.store.files.doomedReplicas(10)).to.have.length(3);
    expect(bench.kicks).to.equal(2);
    expect(await codeOf(() => bench.grant(id, 1))).to.equal('not_found');
  });
});
