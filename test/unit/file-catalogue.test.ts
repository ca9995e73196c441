import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { publicKeyOf, verifyChunkToken } from '../../shared/chunk-token.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { codeOf, errorOf } from '../support/codes.js';
import { FileBench } from '../support/files.js';
import { newChunkId } from '../../shared/ids.js';
import { fileId, MD5, nodeId, storeFile, uploadingFile } from '../support/records.js';

describe('the catalogue', () => {
  let bench: FileBench;

  beforeEach(() => {
    bench = new FileBench();
  });

  describe('resolving', () => {
    it('takes an id or a unique prefix, and names the candidates of an ambiguous one', async () => {
      const [one, two] = [fileId('ab1'), fileId('ab2')];
      for (const id of [one, two]) await storeFile(bench.store.files, [[nodeId(0)]], { id });
      const resolve = async (text: string) => (await bench.files.catalogue.resolve(text)).id;
      expect(await resolve('ab1')).to.equal(one);
      expect(await resolve(two)).to.equal(two);
      const error = await errorOf(() => resolve('ab'));
      expect(error.code).to.equal('invalid_argument');
      expect(error.message).to.include(one).and.include(two);
      expect(await codeOf(() => resolve('c'))).to.equal('not_found');
    });

    it('finds a file by a name that no other has, and names the ids where several have it', async () => {
      const { catalogue } = bench.files;
      const first = await bench.storeFile(1);
      expect((await catalogue.resolve(first.name)).id).to.equal(first.id);
      expect(await codeOf(() => catalogue.resolve(first.name, 'somebody-else'))).to.equal('not_found');
      const second = await bench.storeFile(1);
      const error = await errorOf(() => catalogue.resolve(first.name));
      expect(error).to.include({ code: 'invalid_argument' });
      expect(error.message).to.include(first.id).and.include(second.id).and.include('give the id');
    });

    it('does not find what is still being uploaded', async () => {
      const { upload } = await bench.files.uploads.open({ name: 'a', replicas: 1, expectedSize: 0, owner: 'admin' });
      expect(await codeOf(() => bench.files.catalogue.resolve(upload.fileId))).to.equal('not_found');
    });
  });

  it('finds the chunks of a range in a file with gaps, which are of a range only where they hold some of it', async () => {
    // 0-9, a gap to 29, 30-39, 40-44, a gap to 59.
    const file = uploadingFile({ status: 'partial', size: 60, chunksCount: 5, explicitSizes: true });
    const chunks = [
      [0, 0, 10],
      [2, 30, 10],
      [3, 40, 5],
    ].map(([index = 0, offset = 0, size = 0]) => ({
      id: newChunkId(),
      fileId: file.id,
      index,
      offset,
      size,
      md5: MD5,
      replicas: [],
    }));
    await bench.store.archive.restore({ nodes: [], accounts: [], entries: [], files: [{ file, chunks }] });
    for (const [start, end, from, until] of [
      [0, 10, 0, 1],
      [0, 11, 0, 2],
      [15, 20, 0, 2],
      [30, 40, 2, 3],
      [30, 45, 2, 4],
      [40, 46, 3, 5],
      [50, 99, 3, 5],
      [60, 99, 0, 0],
    ] as const) {
      const found = await bench.files.catalogue.chunksOf(file.id, { start, end });
      expect(found, `${start}-${end}`).to.deep.equal({ from, until });
    }
  });

  describe('listing', () => {
    it('goes page by page to the end', async () => {
      const stored: string[] = [];
      for (let count = 0; count < 5; count += 1) {
        stored.push((await bench.storeFile(1)).id);
        bench.nowMs += 1;
      }
      const listed: string[] = [];
      let token = '';
      do {
        const page = await bench.files.catalogue.list(2, token);
        listed.push(...page.files.map(({ file }) => file.id));
        token = page.nextPageToken;
      } while (token !== '');
      expect(listed).to.deep.equal(stored);
    });

    it('tells of each file whether its bytes can be had, and lists those of one kind', async () => {
      const whole = await bench.storeFile(1);
      bench.nowMs += 1;
      const other = await bench.storeFile(1);
      const { catalogue } = bench.files;
      const [chunk] = await bench.store.files.chunks(other.id, { from: 0, count: 1 });
      const holder = chunk!.replicas[0]!.nodeId;
      const health = async (): Promise<string> => (await catalogue.stat(other.id)).health;
      expect(await health()).to.equal('ready');
      bench.nodes.change(holder, { readable: false });
      expect(await health()).to.equal('unavailable');
      bench.nodes.change(holder, { readable: true });
      await bench.store.replicas.markBad({ chunkId: chunk!.id, nodeId: holder }, 'corrupt');
      expect(await health()).to.equal('damaged');
      await bench.store.files.forgetNode(holder);
      expect(await health()).to.equal('lost');
      const lost = await catalogue.list(1, '', undefined, ['lost']);
      // The first page has none of them, and is not the last.
      expect(lost.files).to.deep.equal([]);
      const rest = await catalogue.list(2, '', undefined, ['lost']);
      expect(rest.files.map(({ file }) => file.id)).to.deep.equal([other.id]);
      expect(lost.nextPageToken).to.include(whole.id);
    });

    for (const token of ['x', '1-2', "1-' OR 1=1", '-', `${'9'.repeat(40)}-${'a'.repeat(16)}`]) {
      it(`refuses the page token ${token}`, async () => {
        expect(await codeOf(() => bench.files.catalogue.list(2, token))).to.equal('invalid_argument');
      });
    }
  });

  describe('sources', () => {
    it('are refused at the start when a chunk further on is lost, unless the reader stops before it', async () => {
      const file = await bench.storeFile(6, 1);
      const last = (await bench.store.files.chunks(file.id, { from: 5, count: 1 }))[0]!;
      await bench.store.replicas.markBad({ chunkId: last.id, nodeId: last.replicas[0]!.nodeId }, 'missing');
      const { catalogue } = bench.files;
      const error = await errorOf(() => catalogue.sources(file.id, 0, 1, { until: 6 }));
      expect(error).to.include({ code: 'data_loss' });
      expect(error.details).to.include({ chunk: 5 });
      expect((await catalogue.sources(file.id, 0, 1, { until: 5 })).sources).to.have.length(1);
    });

    it('carry read tokens for the chunk at its size, on every readable copy', async () => {
      const file = await bench.storeFile(2, 2);
      const { sources } = await bench.files.catalogue.sources(file.id, 0, 64);
      expect(sources.map(({ chunk }) => chunk.size)).to.deep.equal([CHUNK_SIZE_BYTES, 5]);
      const key = publicKeyOf(bench.signer.publicKey);
      for (const { chunk, targets } of sources) {
        expect(targets).to.have.length(2);
        for (const { nodeId: node, token } of targets) {
          const use = { op: 'read', chunk: chunk.id, node, nowMs: bench.nowMs } as const;
          expect(verifyChunkToken(token, key, use).size).to.equal(chunk.size);
          expect(await codeOf(() => verifyChunkToken(token, key, { ...use, op: 'write' }))).to.equal(
            'permission_denied',
          );
        }
      }
    });

    it('come page by page, and none behind the end', async () => {
      const file = await bench.storeFile(5);
      const indexes = async (from: number, count: number) =>
        (await bench.files.catalogue.sources(file.id, from, count)).sources.map(({ chunk }) => chunk.index);
      expect(await indexes(0, 2)).to.deep.equal([0, 1]);
      expect(await indexes(4, 64)).to.deep.equal([4]);
      expect(await indexes(5, 64)).to.deep.equal([]);
      expect(await indexes(4_000_000_000, 64)).to.deep.equal([]);
    });

    it('spread the readers over the copies', async () => {
      const spread = new FileBench(2);
      const file = await spread.storeFile(4, 2);
      const { sources } = await spread.files.catalogue.sources(file.id, 0, 64);
      const firsts = sources.map(({ targets }) => targets[0]?.nodeName);
      expect(firsts).to.deep.equal(['node-0', 'node-1', 'node-0', 'node-1']);
    });

    it('leave out copies on nodes that cannot be asked', async () => {
      const file = await bench.storeFile(1, 2);
      bench.nodes.takeDown(bench.id(0));
      const { sources } = await bench.files.catalogue.sources(file.id, 0, 1);
      expect(sources[0]?.targets.map((target) => target.nodeName)).to.deep.equal(['node-1']);
    });

    it('name chunk and nodes when none of them can be asked', async () => {
      const file = await bench.storeFile(3);
      bench.nodes.takeDown(bench.id(1));
      const error = await errorOf(() => bench.files.catalogue.sources(file.id, 0, 3));
      expect(error.code).to.equal('unavailable');
      expect(inCommandWords(error)).to.include('chunk 1').and.include('nexus node restart node-1');
      expect(error.details).to.deep.include({ file: file.id, chunk: 1, nodes: ['node-1'] });
      expect((await bench.files.catalogue.sources(file.id, 0, 1)).sources).to.have.length(1);
      bench.nodes.change(bench.id(1), { standing: 'here', readable: false });
      const stopped = await errorOf(() => bench.files.catalogue.sources(file.id, 0, 3));
      expect(inCommandWords(stopped)).to.include('nexus node start node-1');
    });

    it('say that a chunk is lost when the last node that had it is gone', async () => {
      const file = await bench.storeFile(1);
      await bench.store.files.forgetNode(bench.id(0));
      expect(await codeOf(() => bench.files.catalogue.sources(file.id, 0, 1))).to.equal('data_loss');
    });
  });

  it('locates all chunks of a large file', async () => {
    const places = Array.from({ length: 2500 }, (_, index) => [nodeId(index % 3)]);
    const { file } = await storeFile(bench.store.files, places);
    const { chunks } = await bench.files.catalogue.locate(file.id.slice(0, 12));
    expect(chunks.map((chunk) => chunk.index)).to.deep.equal(places.map((_, index) => index));
  });

  it('removes by prefix, tells it, and wakes the deletion', async () => {
    const file = await bench.storeFile(2, 2);
    const kicks = bench.kicks;
    expect((await bench.files.remove(file.id.slice(0, 10))).id).to.equal(file.id);
    expect(bench.kicks).to.equal(kicks + 1);
    expect(await bench.store.files.doomedReplicas(10)).to.have.length(4);
    expect(await codeOf(() => bench.files.remove(file.id))).to.equal('not_found');
    expect((await bench.store.events.list(0)).at(-1)?.type).to.equal('file.removed');
  });
});
