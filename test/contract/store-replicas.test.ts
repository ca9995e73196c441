/** What every store keeps of the copies of published chunks: what repair, drain and scrub rely on. */
import { expect } from 'chai';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import type { FileStore } from '../../controller/store/port/store.js';
import type { MarkStore, ReplicaStore } from '../../controller/store/port/replicas.js';
import { codeOf } from '../support/codes.js';
import { nodeId, openUpload, storeFile } from '../support/records.js';
import { STORES, type OpenedStore } from '../support/stores.js';

const [A, B, C] = [nodeId(1), nodeId(2), nodeId(3)] as const;

for (const { name, open } of STORES) {
  describe(`replica store, ${name}`, () => {
    let opened: OpenedStore;
    let files: FileStore;
    let replicas: ReplicaStore;
    let marks: MarkStore;

    beforeEach(async () => {
      opened = await open();
      ({ files, replicas, marks } = opened.store);
    });
    afterEach(async () => {
      await opened.dispose();
    });

    const stateOn = async (chunk: ChunkId, node: NodeId): Promise<string | undefined> =>
      (await replicas.find(chunk))?.replicas.find((copy) => copy.nodeId === node)?.state;

    it('walks over the chunks of published files only, page by page, with their copies', async () => {
      const { file, chunkIds } = await storeFile(files, [[A, B], [B, C], [C]], { replicas: 2 });
      await openUpload(files, [[A]]);
      const gone = await storeFile(files, [[A]]);
      await files.removeFile(gone.file.id);
      const first = await replicas.walk({ after: '', limit: 2 });
      const rest = await replicas.walk({ after: first.at(-1)?.id ?? '', limit: 2 });
      expect([...first, ...rest].map((chunk) => chunk.id)).to.deep.equal([...chunkIds].sort());
      const whole = [...first, ...rest].find((chunk) => chunk.id === chunkIds[0]);
      expect(whole).to.deep.include({ fileId: file.id, index: 0, wanted: 2 });
      expect(whole?.replicas.map((copy) => [copy.nodeId, copy.state])).to.deep.equal([
        [A, 'ready'],
        [B, 'ready'],
      ]);
      expect(await replicas.find(gone.chunkIds[0]!)).to.equal(undefined);
    });

    it('takes a copy from its begin to its end, and remembers why', async () => {
      const { chunkIds } = await storeFile(files, [[A]]);
      const copy = { chunkId: chunkIds[0]!, nodeId: B };
      await replicas.begin(copy, 'because of it');
      expect(await replicas.begun()).to.deep.equal([copy]);
      expect((await files.writingBytes()).get(B)).to.be.greaterThan(0);
      expect(await replicas.settle(copy)).to.equal(true);
      expect(await replicas.settle(copy)).to.equal(false);
      expect(await replicas.begun()).to.deep.equal([]);
      expect(await stateOn(copy.chunkId, B)).to.equal('ready');
      expect(await replicas.reasons([copy.chunkId])).to.deep.equal([
        { chunkId: copy.chunkId, nodeId: A, reason: '' },
        { ...copy, reason: 'because of it' },
      ]);
    });

    it('begins no copy where one is, nor of what is gone', async () => {
      const { file, chunkIds } = await storeFile(files, [[A]]);
      expect(await codeOf(() => replicas.begin({ chunkId: chunkIds[0]!, nodeId: A }, ''))).to.equal('already_exists');
      await files.removeFile(file.id);
      expect(await codeOf(() => replicas.begin({ chunkId: chunkIds[0]!, nodeId: B }, ''))).to.equal('not_found');
    });

    it('does not make a copy whole whose file was removed meanwhile: it is doomed', async () => {
      const { file, chunkIds } = await storeFile(files, [[A]]);
      const copy = { chunkId: chunkIds[0]!, nodeId: B };
      await replicas.begin(copy, '');
      await files.removeFile(file.id);
      expect(await replicas.settle(copy)).to.equal(false);
      expect(await files.doomedReplicas(10, B)).to.deep.equal([copy]);
    });

    it('tells what of which files cannot be read from some nodes, and where a file breaks off first', async () => {
      const whole = await storeFile(files, [[A, B], [B]], { replicas: 2 });
      const bad = await storeFile(files, [[A], [A], [A], [C], [A, C]]);
      await replicas.markBad({ chunkId: bad.chunkIds[1]!, nodeId: A }, 'corrupt');
      await replicas.markBad({ chunkId: bad.chunkIds[2]!, nodeId: A }, 'missing');
      const ids = [whole.file.id, bad.file.id];
      expect([...(await replicas.troubles(ids, [A, B]))]).to.deep.equal([
        [bad.file.id, { unreachable: 1, damaged: 1, gone: 1, isPartial: false }],
      ]);
      expect((await replicas.troubles(ids, [])).get(whole.file.id)).to.include({ unreachable: 2, damaged: 0, gone: 0 });
      await files.forgetNode(A);
      expect((await replicas.troubles(ids, [B, C])).get(bad.file.id)).to.include({
        unreachable: 0,
        damaged: 0,
        gone: 3,
      });
      expect(await replicas.troubles([], [A])).to.have.property('size', 0);
      const first = (from: number, to: number): Promise<number | undefined> =>
        replicas.firstUnreadable(bad.file.id, { from, to }, [B, C]);
      expect(await first(0, 5)).to.equal(0);
      expect(await first(2, 5)).to.equal(2);
      expect(await first(3, 5)).to.equal(undefined);
      expect(await replicas.firstUnreadable(bad.file.id, { from: 3, to: 5 }, [B])).to.equal(3);
    });

    it('counts copies by state, those of files that are coming or gone too', async () => {
      expect([...(await replicas.countStates())]).to.deep.equal([]);
      const { chunkIds } = await storeFile(files, [[A, B], [B]], { replicas: 2 });
      await openUpload(files, [[A]]);
      const gone = await storeFile(files, [[C]]);
      await files.removeFile(gone.file.id);
      await replicas.markBad({ chunkId: chunkIds[0]!, nodeId: B }, 'corrupt');
      expect(Object.fromEntries(await replicas.countStates())).to.deep.equal({
        ready: 2,
        corrupt: 1,
        writing: 1,
        deleting: 1,
      });
    });

    it('gives a copy up that failed', async () => {
      const { chunkIds } = await storeFile(files, [[A]]);
      const copy = { chunkId: chunkIds[0]!, nodeId: B };
      await replicas.begin(copy, '');
      expect(await replicas.abandon(copy)).to.equal(true);
      expect(await replicas.abandon({ ...copy, nodeId: A })).to.equal(false);
      expect(await files.doomedReplicas(10)).to.deep.equal([copy]);
    });

    it('drops what is too many only while enough others are whole', async () => {
      const { chunkIds } = await storeFile(files, [[A, B, C]], { replicas: 2 });
      const chunkId = chunkIds[0]!;
      expect(await replicas.dropSurplus({ chunkId, nodeId: A }, [A, B], 2)).to.equal(false);
      expect(await replicas.dropSurplus({ chunkId, nodeId: A }, [A, B, C], 2)).to.equal(true);
      expect(await replicas.dropSurplus({ chunkId, nodeId: B }, [A, B, C], 2)).to.equal(false);
      expect(await stateOn(chunkId, A)).to.equal('deleting');
    });

    it('of two that drop at once one wins, when one may go', async () => {
      const { chunkIds } = await storeFile(files, [[A, B, C]], { replicas: 2 });
      const drop = (nodeId: NodeId): Promise<boolean> =>
        replicas.dropSurplus({ chunkId: chunkIds[0]!, nodeId }, [A, B, C], 2);
      expect((await Promise.all([A, B, C].map(drop))).filter(Boolean)).to.have.length(1);
    });

    it('drops a bad copy only when a whole one is elsewhere', async () => {
      const { chunkIds } = await storeFile(files, [[A, B]], { replicas: 2 });
      const chunkId = chunkIds[0]!;
      expect(await replicas.markBad({ chunkId, nodeId: A }, 'corrupt')).to.equal(true);
      expect(await replicas.markBad({ chunkId, nodeId: A }, 'missing')).to.equal(false);
      expect(await replicas.dropBad({ chunkId, nodeId: B }, [A, B])).to.equal(false);
      expect(await replicas.dropBad({ chunkId, nodeId: A }, [A])).to.equal(false);
      expect(await replicas.dropBad({ chunkId, nodeId: A }, [A, B])).to.equal(true);
    });

    it('knows what is bad on a node, takes it for whole again, and counts what is damaged as held', async () => {
      const { file, chunkIds } = await storeFile(files, [[A], [A, B]]);
      const [one, two] = [
        { chunkId: chunkIds[0]!, nodeId: A },
        { chunkId: chunkIds[1]!, nodeId: A },
      ];
      await replicas.markBad(one, 'corrupt');
      await replicas.markBad(two, 'missing');
      const bad = async (): Promise<string[]> =>
        (await replicas.badOn(A, { after: '', limit: 10 })).map((chunk) => chunk.id);
      expect(await bad()).to.deep.equal([...chunkIds].sort());
      expect(await replicas.badOn(B, { after: '', limit: 10 })).to.deep.equal([]);
      expect((await replicas.countOn(A)).chunks).to.equal(1);
      // The damaged copy is the last one of its chunk, the missing one is nothing that could be lost.
      expect((await files.filesOnlyOn(A, [B])).map(({ id }) => id)).to.deep.equal([file.id]);
      expect(await replicas.markWhole(one)).to.equal(true);
      expect(await replicas.markWhole(one)).to.equal(false);
      expect(await bad()).to.deep.equal([two.chunkId]);
      expect(await stateOn(one.chunkId, A)).to.equal('ready');
    });

    it('knows what is on a node, whole or in any state', async () => {
      const { chunkIds } = await storeFile(files, [[A], [A, B]]);
      const unknown = 'f'.repeat(32) as ChunkId;
      const { chunks } = await openUpload(files, [[A]]);
      await replicas.markBad({ chunkId: chunkIds[0]!, nodeId: A }, 'missing');
      expect((await replicas.readyOn(A, { after: '', limit: 10 })).map((chunk) => chunk.id)).to.deep.equal([
        chunkIds[1],
      ]);
      expect((await replicas.countOn(A)).chunks).to.equal(1);
      const asked = [...chunkIds, chunks[0]!.id, unknown];
      expect(await replicas.knownOn(A, asked)).to.deep.equal(new Set([...chunkIds, chunks[0]!.id]));
      expect(await replicas.knownOn(C, asked)).to.deep.equal(new Set());
    });

    it('remembers numbers under a name', async () => {
      expect(await marks.get('a')).to.equal(undefined);
      await marks.set('a', 2 ** 45);
      await marks.set('a', 7);
      await marks.set('b', 8);
      expect([await marks.get('a'), await marks.get('b')]).to.deep.equal([7, 8]);
    });
  });
}
