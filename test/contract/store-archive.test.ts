/** What every store keeps when all of it is written down and put back. */
import { expect } from 'chai';
import { newChunkId, newEntryId, newNodeId, type NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { topOf } from '../../controller/store/port/fs.js';
import type { ArchiveContent, ArchivedEntry } from '../../controller/store/port/archive.js';
import type { ChunkRecord, Store } from '../../controller/store/port/store.js';
import { codeOf } from '../support/codes.js';
import { MD5, nodeRecord, openUpload, storeFile, uploadingFile } from '../support/records.js';
import { STORES, type OpenedStore } from '../support/stores.js';

const folder = (owner: string, name: string): ArchivedEntry => ({
  id: newEntryId(),
  owner,
  parentId: topOf(owner),
  name,
  type: 'folder',
  fileId: null,
  createdAt: 1000,
  modifiedAt: 2000,
});

async function contentOf({ archive, nodes }: Store): Promise<ArchiveContent> {
  return {
    nodes: await nodes.list(),
    accounts: await archive.accounts(),
    entries: await archive.entries('', 1000),
    files: await archive.files('', 1000),
  };
}

for (const { name, open } of STORES) {
  describe(`archive, ${name}`, () => {
    let opened: OpenedStore;
    let store: Store;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(async () => {
      await opened.dispose();
    });

    /** Two nodes, a quota, a folder with a file in it, a raw file, and an upload that is not done. */
    async function fill(): Promise<void> {
      const a = await store.nodes.reserve(10, (slot) => nodeRecord('a', slot));
      const b = await store.nodes.reserve(10, (slot) => nodeRecord('b', slot));
      await store.fs.setLimit('alice', 77_000_000, 500);
      const file = uploadingFile({
        owner: 'alice',
        kind: 'fs',
        replicas: 2,
        status: 'ready',
        size: CHUNK_SIZE_BYTES + 5,
        chunksCount: 2,
      });
      const chunk = (index: number, size: number, nodes: readonly NodeId[]): ChunkRecord => ({
        id: newChunkId(),
        fileId: file.id,
        index,
        size,
        offset: index * CHUNK_SIZE_BYTES,
        md5: MD5,
        replicas: nodes.map((nodeId) => ({ nodeId, state: 'ready' })),
      });
      const chunks = [chunk(0, CHUNK_SIZE_BYTES, [a.id, b.id].sort()), chunk(1, 5, [b.id])];
      const at = folder('alice', 'photos');
      const entry: ArchivedEntry = { ...folder('alice', 'one.jpg'), parentId: at.id, type: 'file', fileId: file.id };
      const parts = uploadingFile({ owner: 'bob', status: 'ready', size: 8, chunksCount: 2, explicitSizes: true });
      const part = (index: number, offset: number, size: number): ChunkRecord => ({
        ...chunk(index, size, [a.id]),
        fileId: parts.id,
        offset,
      });
      const files = [
        { file, chunks },
        { file: parts, chunks: [part(0, 0, 3), part(1, 3, 5)] },
      ];
      await store.archive.restore({ nodes: [], accounts: [], entries: [at, entry], files });
      await storeFile(store.files, [[a.id]], { owner: 'bob' });
      await openUpload(store.files, [[a.id]], { owner: 'bob' });
    }

    it('gives what is stored, and nothing of uploads that are not done', async () => {
      await fill();
      const { accounts, entries, files } = await contentOf(store);
      expect(accounts.find(({ owner }) => owner === 'alice')).to.deep.include({ limit: 77_000_000, createdAt: 500 });
      expect(entries.map((entry) => entry.name).sort()).to.deep.equal(['one.jpg', 'photos']);
      expect(files.map(({ file }) => [file.owner, file.kind]).sort()).to.deep.equal([
        ['alice', 'fs'],
        ['bob', 'raw'],
        ['bob', 'raw'],
      ]);
      expect(files.map(({ chunks }) => chunks.length).sort()).to.deep.equal([1, 2, 2]);
      const offsets = files.filter(({ file }) => file.explicitSizes).map(({ chunks }) => chunks.map((c) => c.offset));
      expect(offsets).to.deep.equal([[0, 3]]);
    });

    it('gives entries and files page by page, in order', async () => {
      await fill();
      const { files, entries } = await contentOf(store);
      const first = await store.archive.files('', 1);
      const rest = await store.archive.files(first[0]!.file.id, 10);
      expect([...first, ...rest]).to.deep.equal(files);
      expect(files.map(({ file }) => file.id)).to.deep.equal(files.map(({ file }) => file.id).sort());
      const [one] = await store.archive.entries('', 1);
      expect([one, ...(await store.archive.entries(one!.id, 10))]).to.deep.equal(entries);
    });

    it('puts all of it back into an empty store, sums too', async () => {
      await fill();
      const content = await contentOf(store);
      const other = await open();
      try {
        expect(await other.store.archive.isEmpty()).to.equal(true);
        await other.store.archive.restore(content);
        expect(await other.store.archive.isEmpty()).to.equal(false);
        expect(await contentOf(other.store)).to.deep.equal(content);
        for (const owner of ['alice', 'bob']) {
          const { account, used, reserved } = await other.store.fs.recount(owner);
          expect({ used: account?.used, reserved: account?.reserved }).to.deep.equal({ used, reserved });
          expect(used).to.equal(
            content.files.filter(({ file }) => file.owner === owner).reduce((sum, { file }) => sum + file.size, 0),
          );
        }
        const found = await other.store.fs.find('alice', ['photos', 'one.jpg']);
        expect(found.at(-1)?.size).to.equal(content.files.find(({ file }) => file.owner === 'alice')?.file.size);
      } finally {
        await other.dispose();
      }
    });

    it('puts nothing back where a part of it is there already', async () => {
      await fill();
      const content = await contentOf(store);
      const extra = nodeRecord('extra', 7);
      const nodes = [extra, ...content.nodes];
      expect(await codeOf(() => store.archive.restore({ ...content, nodes }))).to.equal('already_exists');
      expect(await contentOf(store)).to.deep.equal(content);
      expect(await store.nodes.get(extra.id)).to.equal(undefined);
    });

    it('has a number that grows with every write and stands still without one', async () => {
      const before = store.archive.revision();
      await fill();
      const after = store.archive.revision();
      expect(after).to.be.greaterThan(before);
      await contentOf(store);
      await store.nodes.get(newNodeId());
      expect(store.archive.revision()).to.equal(after);
    });
  });
}
