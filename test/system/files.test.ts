/** A file on its way through real nodes: spread, found, fetched, removed; and what goes wrong on the way. */
import { expect } from 'chai';
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface FileJson {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  readonly chunks_count: number;
  readonly status: string;
}
interface WhereJson {
  readonly chunks: {
    index: number;
    size: number;
    md5: string;
    chunk_id: string;
    replicas: { node: string; state: string }[];
  }[];
}

const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

for (const runtime of ['runc', 'process'] as const) {
  describeWithCluster(`files on the ${runtime} runtime`, { runtime }, (cluster) => {
    const path = (name: string): string => join(cluster().folder, name);
    const upload = (name: string): Promise<FileJson> => cluster().json<FileJson>('file', 'upload', path(name));

    it('an upload without a node is refused with what to do', async () => {
      writeFileSync(path('early'), 'x');
      const result = await cluster().run('file', 'upload', path('early'));
      expect(result.code, result.stderr).to.be.oneOf([4, 5]);
      expect(result.stderr).to.match(/node create/);
      expect(await cluster().json<FileJson[]>('file', 'ls')).to.deep.equal([]);
    });

    it('is spread round robin over the nodes and comes back identical', async () => {
      for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--storage', '512M');
      const data = randomBytes(3.5 * CHUNK_SIZE_BYTES);
      writeFileSync(path('data'), data);
      const file = await upload('data');
      expect(file).to.include({ name: 'data', size: data.length, chunks_count: 4, status: 'ready' });
      const where = await cluster().json<WhereJson>('file', 'where', file.id.slice(0, 8));
      expect(new Set(where.chunks.slice(0, 3).map((chunk) => chunk.replicas[0]?.node)).size).to.equal(3);
      for (const [index, chunk] of where.chunks.entries()) {
        const piece = data.subarray(index * CHUNK_SIZE_BYTES, (index + 1) * CHUNK_SIZE_BYTES);
        expect(chunk.md5).to.equal(createHash('md5').update(piece).digest('hex'));
        expect(chunk.size).to.equal(piece.length);
      }
      await cluster().ok('file', 'download', file.id, path('copy'));
      expect(sha(readFileSync(path('copy')))).to.equal(sha(data));
      await cluster().ok('file', 'verify', file.id);
      const [listed] = await cluster().json<FileJson[]>('file', 'ls');
      expect(listed?.id).to.equal(file.id);
    });

    it('flows from standard input and to standard output, also when empty', async () => {
      for (const size of [0, 1, CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES + 1]) {
        const data = randomBytes(size);
        writeFileSync(path('in'), data);
        const file = await cluster().typed({ input: data }, 'file', 'upload', '-', '--output', 'json');
        expect(file.code, file.stderr).to.equal(0);
        const { id } = JSON.parse(file.stdout) as FileJson;
        await cluster().ok('file', 'download', id, path('out'));
        expect(sha(readFileSync(path('out')))).to.equal(sha(data));
        await cluster().ok('file', 'rm', id);
      }
    });

    it('concurrent uploads to the same nodes are all whole', async () => {
      const names = Array.from({ length: 6 }, (_, index) => `par-${index}`);
      const sums = new Map(
        names.map((name) => {
          const data = randomBytes(CHUNK_SIZE_BYTES + 12_345);
          writeFileSync(path(name), data);
          return [name, sha(data)];
        }),
      );
      const files = await Promise.all(names.map((name) => upload(name)));
      await Promise.all(files.map((file) => cluster().ok('file', 'download', file.id, path(`${file.name}.back`))));
      for (const [name, sum] of sums) expect(sha(readFileSync(path(`${name}.back`)))).to.equal(sum);
      await cluster().ok('file', 'rm', ...files.map((file) => file.id));
    });

    it('removal takes the chunks off every node', async () => {
      const [file] = await cluster().json<FileJson[]>('file', 'ls');
      await cluster().ok('file', 'rm', file?.id ?? '');
      expect((await cluster().run('file', 'stat', file?.id ?? '')).code).to.equal(3);
      await eventually(
        () => cluster().json<NodeJson[] & { report?: { chunks: number } }[]>('node', 'ls'),
        (nodes) => nodes.every((node) => (node as { report?: { chunks: number } }).report?.chunks === 0),
      );
    });

    it('a chunk changed on disk fails the download with chunk, node and both checksums, and leaves no file', async () => {
      writeFileSync(path('fragile'), randomBytes(CHUNK_SIZE_BYTES + 5));
      const file = await upload('fragile');
      const where = await cluster().json<WhereJson>('file', 'where', file.id);
      const [chunk] = where.chunks;
      const node = chunk?.replicas[0]?.node ?? '';
      const found = await flip(node, chunk?.chunk_id ?? '');
      expect(found, 'the chunk file').to.equal(true);
      mkdirSync(path('dest'), { recursive: true });
      const result = await cluster().run('file', 'download', file.id, path('dest/fragile'));
      expect(result.code).to.equal(1);
      expect(result.stderr)
        .to.contain(node)
        .and.contain(chunk?.md5 ?? 'md5')
        .and.match(/chunk 0/);
      expect(result.stderr.match(/\b[0-9a-f]{32}\b/g)?.length).to.be.greaterThan(1);
      expect(readdirSync(path('dest'))).to.deep.equal([]);
      await cluster().ok('file', 'rm', file.id);
    });

    /** Changes one byte of a chunk file below the agent's feet. */
    async function flip(node: string, chunkId: string): Promise<boolean> {
      const relative = `chunks/${chunkId.slice(0, 2)}/${chunkId}`;
      if (runtime === 'runc') {
        const script = `printf X | dd of=/data/${relative} bs=1 seek=4096 conv=notrunc`;
        return (await cluster().run('node', 'exec', node, '--', 'sh', '-c', script)).code === 0;
      }
      const { id } = await cluster().json<NodeJson>('node', 'inspect', node);
      execFileSync(
        'dd',
        [`of=${join(cluster().stateDir, 'volumes', id, relative)}`, 'bs=1', 'seek=4096', 'conv=notrunc'],
        {
          input: 'X',
          stdio: ['pipe', 'ignore', 'ignore'],
        },
      );
      return true;
    }

    it('refuses unknown ids and destinations that cannot be written', async () => {
      expect((await cluster().run('file', 'download', 'ffffffff', path('x'))).code).to.equal(3);
      writeFileSync(path('small'), 'small');
      const file = await upload('small');
      const result = await cluster().run('file', 'download', file.id, '/proc/no/such/place');
      expect(result.code).to.not.equal(0);
      expect(result.stderr.trim().split('\n')).to.have.length(1);
      await cluster().ok('file', 'rm', file.id);
    });

    it('an upload that does not fit is refused and leaves nothing', async () => {
      const size = 1600 * 1024 * 1024;
      execFileSync('truncate', ['-s', String(size), path('huge')]);
      const result = await cluster().run('file', 'upload', path('huge'));
      expect(result.code, result.stderr).to.equal(4);
      expect(await cluster().json<FileJson[]>('file', 'ls')).to.deep.equal([]);
    });

    it('a node that holds the only copy is not removed unless forced', async () => {
      writeFileSync(path('only'), randomBytes(100));
      const file = await upload('only');
      const where = await cluster().json<WhereJson>('file', 'where', file.id);
      const node = where.chunks[0]?.replicas[0]?.node ?? '';
      const refused = await cluster().run('node', 'rm', node);
      expect(refused.code).to.equal(4);
      expect(refused.stderr).to.contain(file.id);
      await cluster().ok('node', 'stop', node);
      expect((await cluster().json<FileJson>('file', 'stat', file.id)).status).to.equal('unavailable');
      const forced = await cluster().ok('node', 'rm', '--force', node);
      expect(forced).to.match(/1 file\(s\) lost parts of theirs: only \([0-9a-f]{16}\)/);
      expect((await cluster().json<FileJson>('file', 'stat', file.id)).status).to.equal('lost');
      const lost = await cluster().json<FileJson[]>('file', 'ls', '--lost');
      expect(lost.map(({ id }) => id)).to.deep.equal([file.id]);
      const download = await cluster().run('file', 'download', file.id, path('back'));
      expect(download).to.include({ code: 1 });
      expect(download.stderr).to.match(/is on no node any more/);
      expect(existsSync(path('back'))).to.equal(false);
      await cluster().ok('file', 'rm', file.id);
    });
  });
}
