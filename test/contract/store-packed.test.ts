/** What every store keeps of small files that are opened and published together: each of them by itself, as a single one. */
import { expect } from 'chai';
import { NexusError } from '../../shared/errors.js';
import { newChunkId, newUploadId, type ChunkId, type NodeId, type UploadId } from '../../shared/ids.js';
import { topOf } from '../../controller/store/port/fs.js';
import type { ClaimedCopy, CommittedUpload, PackedUpload } from '../../controller/store/port/store.js';
import { MD5, nodeId, uploadingFile, uploadOf } from '../support/records.js';
import { STORES, type OpenedStore } from '../support/stores.js';

const [A, B, C] = [nodeId(1), nodeId(2), nodeId(3)] as const;
const OWNER = 'alice';
const OTHER_MD5 = '0123456789abcdef0123456789abcdef';
const CHANGE = { reason: 'a test', limit: 0 };

interface Wish {
  readonly name: string;
  readonly size?: number;
  readonly nodes?: readonly NodeId[];
  readonly overwrite?: boolean;
  readonly parentId?: string;
}

function small({ name, size = 10, nodes = [A], overwrite = false, parentId = topOf(OWNER) }: Wish): PackedUpload {
  const file = uploadingFile({ kind: 'fs', name, owner: OWNER, replicas: Math.max(1, nodes.length) });
  const place = { parentId, entryName: name, overwrite };
  const upload = uploadOf(file, { expectedSize: size, reserved: size, ...place });
  return { file, upload, chunk: size === 0 ? undefined : { id: newChunkId(), nodeIds: nodes } };
}

const said = (outcomes: readonly (CommittedUpload | NexusError | undefined)[]): string[] =>
  outcomes.map((outcome) => (outcome instanceof NexusError ? outcome.code : 'stored'));

for (const { name: kind, open } of STORES) {
  describe(`small files together, ${kind}`, () => {
    let opened: OpenedStore;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(async () => {
      await opened.dispose();
    });

    const openAll = (uploads: readonly PackedUpload[], limit = 0) =>
      opened.store.files.openUploads(uploads, { ...CHANGE, limit });
    /** As agents sign: all copies that were granted, unless something else is given. */
    const commitAll = (
      uploads: readonly PackedUpload[],
      change: {
        readonly claims?: ReadonlyMap<ChunkId, readonly ClaimedCopy[]>;
        readonly owner?: string;
        readonly now?: number;
        readonly more?: readonly UploadId[];
      } = {},
    ) => {
      const claims = uploads.flatMap(({ upload, chunk }) => {
        if (chunk === undefined) return [];
        const copies = chunk.nodeIds.map((node) => ({ nodeId: node, size: upload.expectedSize, md5: MD5 }));
        return [[chunk.id, copies] as const];
      });
      const claimed = change.claims ?? new Map<ChunkId, readonly ClaimedCopy[]>(claims);
      const ids = [...uploads.map(({ upload }) => upload.id), ...(change.more ?? [])];
      const { owner = OWNER, now = 500 } = change;
      return opened.store.files.commitUploads(ids, { owner, claimed, limit: 0, now, claim: () => true });
    };
    const entries = async () =>
      (await opened.store.fs.children(topOf(OWNER), { after: '', limit: 100 })).map(
        ({ name, size }) => `${name} ${size}`,
      );
    const statesOf = async ({ file }: PackedUpload) =>
      (await opened.store.files.chunks(file.id, { from: 0, count: 9 })).flatMap(({ replicas }) =>
        replicas.map(({ nodeId: node, state }) => `${node === A ? 'a' : node === B ? 'b' : 'c'} ${state}`),
      );
    const account = async () => {
      const { used, reserved } = (await opened.store.fs.account(OWNER)) ?? { used: -1, reserved: -1 };
      return { used, reserved };
    };

    it('are opened with their grants and reservations, and appear with the commit', async () => {
      const uploads = [
        small({ name: 'one', nodes: [A, B] }),
        small({ name: 'two', size: 20, nodes: [B] }),
        small({ name: 'none', size: 0 }),
      ];
      expect(said(await openAll(uploads))).to.deep.equal(['stored', 'stored', 'stored']);
      expect(await account()).to.deep.equal({ used: 0, reserved: 30 });
      expect(await statesOf(uploads[0]!)).to.have.members(['a writing', 'b writing']);
      expect(Object.fromEntries(await opened.store.files.writingBytes())).to.deep.equal({ [A]: 10, [B]: 30 });
      expect(await entries()).to.deep.equal([]);
      const outcomes = await commitAll(uploads);
      expect(said(outcomes)).to.deep.equal(['stored', 'stored', 'stored']);
      expect(outcomes).to.deep.include({
        copies: 2,
        file: { ...uploads[0]!.file, size: 10, chunksCount: 1, status: 'ready' },
      });
      expect(await opened.store.files.getFile(uploads[1]!.file.id)).to.deep.include({
        size: 20,
        chunksCount: 1,
        status: 'ready',
      });
      expect(await entries()).to.deep.equal(['none 0', 'one 10', 'two 20']);
      expect(await account()).to.deep.equal({ used: 30, reserved: 0 });
      expect(await statesOf(uploads[0]!)).to.have.members(['a ready', 'b ready']);
      const [chunk] = await opened.store.files.chunks(uploads[1]!.file.id, { from: 0, count: 1 });
      expect(chunk).to.deep.include({ size: 20, md5: MD5, index: 0 });
      for (const { upload } of uploads) expect(await opened.store.files.getUpload(upload.id)).to.equal(undefined);
    });

    it('go on as single ones: more grants, a commit, an abort', async () => {
      const uploads = [small({ name: 'one' }), small({ name: 'two' })];
      await openAll(uploads);
      const [one, two] = uploads.map(({ upload }) => upload.id);
      expect(await opened.store.files.getUpload(one!)).to.deep.include({ granted: 1 });
      const moved = [{ chunkId: uploads[0]!.chunk!.id, from: [A], to: [C] }];
      await opened.store.files.recordGrants(one!, { received: [], moved, placed: [], expiresAt: 2000 });
      const received = [{ chunkId: uploads[0]!.chunk!.id, size: 10, md5: MD5, nodeIds: [C] }];
      await opened.store.files.commitUpload(one!, { received, size: 10, chunksCount: 1 });
      await opened.store.files.abortUpload(two!);
      expect(await entries()).to.deep.equal(['one 10']);
      expect(await account()).to.deep.equal({ used: 10, reserved: 0 });
      expect(await opened.store.files.doomedReplicas(9)).to.have.length(2);
    });

    it('are opened as far as the quota has room, in their order', async () => {
      const uploads = ['a', 'b', 'c', 'd'].map((name) => small({ name, size: name === 'c' ? 5 : 10 }));
      const refusals = await openAll(uploads, 25);
      expect(said(refusals)).to.deep.equal(['stored', 'stored', 'stored', 'resource_exhausted']);
      expect(await account()).to.deep.equal({ used: 0, reserved: 25 });
      expect(said(await commitAll(uploads))).to.deep.equal(['stored', 'stored', 'stored', 'not_found']);
      expect(await account()).to.deep.equal({ used: 25, reserved: 0 });
    });

    it('that are refused keep nobody else from being stored, and nothing of them is', async () => {
      const before = [small({ name: 'taken' })];
      await openAll(before);
      await commitAll(before);
      const uploads = [
        small({ name: 'good' }),
        small({ name: 'taken' }),
        small({ name: 'taken', overwrite: true, size: 7 }),
        small({ name: 'good' }),
        small({ name: 'homeless', parentId: 'f'.repeat(16) }),
        small({ name: 'unsigned' }),
        small({ name: 'short' }),
      ];
      await openAll(uploads);
      const sign = (at: number, size = uploads[at]!.upload.expectedSize) =>
        [uploads[at]!.chunk!.id, [{ nodeId: A, size, md5: MD5 }]] as const;
      const claims = new Map<ChunkId, readonly ClaimedCopy[]>([
        sign(0),
        sign(1),
        sign(2),
        sign(3),
        sign(4),
        sign(6, 9),
      ]);
      const outcomes = await commitAll(uploads, { claims, more: [newUploadId()] });
      expect(said(outcomes)).to.deep.equal([
        'stored',
        'already_exists',
        'stored',
        'already_exists',
        'not_found',
        'failed_precondition',
        'failed_precondition',
        'not_found',
      ]);
      expect(await entries()).to.deep.equal(['good 10', 'taken 7']);
      // The one that was replaced is gone; those that were refused are as they were, until they are aborted.
      expect((await account()).used).to.equal(17);
      expect(await statesOf(uploads[6]!)).to.deep.equal(['a writing']);
      expect(await opened.store.files.doomedReplicas(9)).to.deep.equal([{ chunkId: before[0]!.chunk!.id, nodeId: A }]);
    });

    it('count copies only of nodes that were granted them and that agree; the others are doomed', async () => {
      const uploads = ['lacking', 'foreign', 'liars'].map((name) => small({ name, nodes: [A, B] }));
      await openAll(uploads);
      const copy = (node: NodeId, md5 = MD5): ClaimedCopy => ({ nodeId: node, size: 10, md5 });
      const [lacking, foreign, liars] = uploads.map(({ chunk }) => chunk!.id);
      const outcomes = await commitAll(uploads, {
        claims: new Map<ChunkId, readonly ClaimedCopy[]>([
          [lacking!, [copy(A)]],
          [foreign!, [copy(B), copy(C, OTHER_MD5)]],
          [liars!, [copy(A), copy(B, OTHER_MD5)]],
        ]),
      });
      expect(said(outcomes)).to.deep.equal(['stored', 'stored', 'failed_precondition']);
      expect(outcomes.map((outcome) => (outcome instanceof NexusError ? 0 : outcome.copies))).to.deep.equal([1, 1, 0]);
      expect(await statesOf(uploads[0]!)).to.have.members(['a ready', 'b deleting']);
      expect(await statesOf(uploads[1]!)).to.have.members(['a deleting', 'b ready']);
      const [chunk] = await opened.store.files.chunks(uploads[1]!.file.id, { from: 0, count: 1 });
      expect(chunk?.md5).to.equal(MD5);
    });

    it('of somebody else, and those that have expired, are not there', async () => {
      const uploads = [small({ name: 'one' })];
      await openAll(uploads);
      expect(said(await commitAll(uploads, { owner: 'bob' }))).to.deep.equal(['not_found']);
      expect(said(await commitAll(uploads, { now: 1000 }))).to.deep.equal(['not_found']);
      expect(said(await commitAll(uploads, { now: 999 }))).to.deep.equal(['stored']);
      expect(said(await commitAll(uploads))).to.deep.equal(['not_found']);
    });

    it('find which names are taken in a folder', async () => {
      const uploads = ['a', 'b'].map((name) => small({ name, size: 0 }));
      await openAll(uploads);
      await commitAll(uploads);
      const found = await opened.store.fs.named(topOf(OWNER), ['b', 'c']);
      expect(found.map(({ name }) => name)).to.deep.equal(['b']);
    });
  });
}
