/** The state taken away and put back on volumes that are still there, and made anew from them when it is lost. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface FileJson {
  readonly id: string;
  readonly name: string;
  readonly owner: string;
  readonly size: number;
  readonly status: string;
}
interface DocumentJson {
  readonly revision: number;
  readonly nodes: readonly { readonly name: string }[];
  readonly files: readonly { readonly id: string }[];
  readonly entries: readonly { readonly name: string }[];
}
interface RebuiltJson {
  readonly nodes: readonly string[];
  readonly files: readonly { id: string; name: string; owner: string; verdict: string; missing_chunks: number[] }[];
  readonly warnings: readonly string[];
}

describeWithCluster('the state of a cluster', {}, (cluster) => {
  const big = randomBytes(2 * CHUNK_SIZE_BYTES + 4711);
  const small = randomBytes(100_000);
  const local = (name: string, data: Buffer): string => {
    const path = join(cluster().folder, name);
    writeFileSync(path, data);
    return path;
  };
  const readBack = async (...words: string[]): Promise<Buffer> => {
    const path = join(cluster().folder, 'copy');
    rmSync(path, { force: true });
    await cluster().ok(...words, path);
    return readFileSync(path);
  };
  const snapshot = (): DocumentJson =>
    JSON.parse(readFileSync(join(cluster().stateDir, 'nexus.json'), 'utf8')) as DocumentJson;
  /** As after a disk that took the database and left the volumes. */
  const loseDatabase = async (): Promise<void> => {
    await cluster().ok('down');
    await cluster().controllerEnd();
    for (const name of readdirSync(cluster().stateDir).filter((entry) => entry.startsWith('nexus.db')))
      rmSync(join(cluster().stateDir, name));
    await cluster().startController();
    expect(await cluster().json('node', 'ls')).to.deep.equal([]);
  };
  const statuses = async (): Promise<string[]> =>
    (await cluster().json<NodeJson[]>('node', 'ls')).map((node) => `${node.name} ${node.status}`);

  let raw: FileJson;
  let saved: string;

  before(async () => {
    await cluster().ok('node', 'create', 'a', '--storage', '256M');
    await cluster().ok('node', 'create', 'b', '--storage', '256M', '--label', 'zone=x');
    await cluster().ok('node', 'create', 'c', '--storage', '256M');
    await cluster().ok('node', 'stop', 'c');
    raw = await cluster().json<FileJson>('file', 'upload', local('big.bin', big), '--replicas', '2');
    await cluster().createUser('alice');
    await cluster().ok('fs', 'mkdir', '-p', '/photos/2026', '--as', 'alice');
    await cluster().ok('fs', 'upload', local('small.bin', small), '/photos/2026/one', '--as', 'alice');
    await cluster()
      .ok('fs', 'quota', '--set', '50M', 'alice')
      .catch(() => undefined);
    saved = join(cluster().folder, 'saved.json');
  });

  it('lies beside the database a moment after each change, as export gives it, for its owner alone', async () => {
    await cluster().ok('fs', 'mkdir', '/later', '--as', 'alice');
    await eventually(snapshot, ({ entries }) => entries.some(({ name }) => name === 'later'));
    // The cluster goes on changing by itself: only two of the same moment can be compared.
    const [exported, written] = await eventually(
      async () => [JSON.parse(await cluster().ok('state', 'export')) as DocumentJson, snapshot()] as const,
      ([now, file]) => now.revision === file.revision,
    );
    expect(exported).to.deep.equal(written);
    expect(exported.nodes.map(({ name }) => name)).to.deep.equal(['a', 'b', 'c']);
    await cluster().ok('state', 'export', saved);
    const keys = readFileSync(saved, 'utf8').match(/"[a-z_]*(password|secret|token|seed|private)[a-z_]*"/g);
    expect(keys).to.equal(null);
  });

  it('is refused where something is, and when it is no state', async () => {
    const full = await cluster().run('state', 'import', saved);
    expect([full.code, full.stderr]).to.satisfy(
      ([code, text]: [number, string]) =>
        code === 4 && text.includes('already') && text.trim().split('\n').length === 1,
    );
    for (const text of ['', '{', '{"format": "other"}', '[]']) {
      const wrong = await cluster().runWith({ input: text }, 'state', 'import', '-');
      expect(wrong.code, text).to.equal(2);
    }
    const newer = JSON.stringify({ ...snapshot(), version: 99 });
    expect((await cluster().runWith({ input: newer }, 'state', 'import', '-')).stderr).to.include('version 99');
  });

  it('that is empty takes no snapshot’s place, and says what to do', async () => {
    const path = join(cluster().stateDir, 'nexus.json');
    const contentOf = (file: string): object => {
      const document = JSON.parse(readFileSync(file, 'utf8')) as object;
      return { ...document, revision: 0 };
    };
    const before = contentOf(path);
    await loseDatabase();
    const warned = await eventually(
      () => cluster().json<{ warnings: string[] }>('status'),
      ({ warnings }) => warnings.some((text) => text.includes('nexus state import')),
    );
    expect(warned.warnings.join()).to.include(path);
    expect(contentOf(path)).to.deep.equal(before);
    // As the manual says.
    await cluster().ok('state', 'import', path);
    const names = (): string[] => readdirSync(cluster().stateDir).filter((name) => name.startsWith('nexus.json'));
    const kept = await eventually(names, (found) => found.length === 2);
    const old = kept.find((name) => name !== 'nexus.json') ?? '';
    expect(contentOf(join(cluster().stateDir, old))).to.deep.equal(before);
    expect((await cluster().json<{ warnings: string[] }>('status')).warnings.join()).to.not.include('state import');
    expect((await readBack('file', 'download', raw.id)).equals(big)).to.equal(true);
  });

  it('put back into an empty folder brings every node, file, folder and quota back', async () => {
    const before = await cluster().json<{ used: number }>('fs', 'quota', '--as', 'alice');
    await loseDatabase();
    const imported = await cluster().json<{ nodes: number; files: string; warnings: string[] }>(
      'state',
      'import',
      saved,
    );
    expect(imported).to.deep.include({ nodes: 3, warnings: [] });
    expect(Number(imported.files)).to.equal(2);
    expect(await statuses()).to.deep.equal(['a Running', 'b Running', 'c Stopped']);
    expect((await readBack('file', 'download', raw.id)).equals(big)).to.equal(true);
    expect((await readBack('fs', 'download', '/photos/2026/one', '--as', 'alice')).equals(small)).to.equal(true);
    const after = await cluster().json<{ used: number; recounted_used: number }>(
      'fs',
      'quota',
      '--recount',
      '--as',
      'alice',
    );
    expect([after.used, after.recounted_used]).to.deep.equal([before.used, before.used]);
    expect((await cluster().run('file', 'verify', raw.id)).code).to.equal(0);
    await cluster().ok('node', 'start', 'c');
    expect(await statuses()).to.include('c Running');
  });

  it('is made anew from the volumes as far as they tell, and says what they do not', async () => {
    const alone = await cluster().json<FileJson>('file', 'upload', local('alone.bin', big), '--as', 'alice');
    const where = await cluster().json<{ chunks: { index: number; replicas: { node: string; node_id: string }[] }[] }>(
      'file',
      'where',
      alone.id,
      '--as',
      'alice',
    );
    const onC = where.chunks.filter(({ replicas }) => replicas[0]?.node === 'c').map(({ index }) => index);
    const ofC = where.chunks.flatMap(({ replicas }) => replicas).find(({ node }) => node === 'c')?.node_id ?? '';
    expect(onC, 'chunks on node c').to.have.length(1);
    await loseDatabase();
    for (const suffix of ['img', 'json']) rmSync(join(cluster().stateDir, 'volumes', `${ofC}.${suffix}`));
    const planned = await cluster().json<RebuiltJson>('state', 'rebuild', '--plan');
    expect(planned.nodes).to.deep.equal(['a', 'b']);
    expect(await cluster().json('node', 'ls')).to.deep.equal([]);

    const rebuilt = await cluster().json<RebuiltJson>('state', 'rebuild');
    expect(rebuilt.nodes).to.deep.equal(['a', 'b']);
    expect(rebuilt.warnings).to.deep.equal([]);
    const verdicts = new Map(rebuilt.files.map((file) => [file.id, file]));
    expect(verdicts.get(raw.id)).to.deep.include({ name: 'big.bin', owner: 'admin', verdict: 'whole' });
    expect(verdicts.get(alone.id)).to.deep.include({ owner: 'alice', verdict: 'partial', missing_chunks: onC });
    expect((await readBack('file', 'download', raw.id)).equals(big)).to.equal(true);
    const files = await cluster().json<FileJson[]>('file', 'ls', '--as', 'alice');
    expect(files.map(({ name, status }) => [name, status]).sort()).to.deep.equal([
      ['alone.bin', 'partial'],
      ['one', 'ready'],
    ]);
    const lacking = await cluster().run('file', 'download', alone.id, join(cluster().folder, 'x'), '--as', 'alice');
    expect(lacking.code).to.equal(1);
    expect(lacking.stderr).to.include(`chunk ${onC[0]}`);
    const start = (onC[0] === 0 ? 1 : 0) * CHUNK_SIZE_BYTES;
    const range = ['--range', `${start}-${start + 99}`];
    const part = await readBack('file', 'download', alone.id, '--as', 'alice', ...range);
    expect(part.equals(big.subarray(start, start + 100))).to.equal(true);
    await cluster().ok('file', 'rm', alone.id, '--as', 'alice');
    const again = await cluster().json<RebuiltJson>('state', 'rebuild');
    expect(again.files).to.deep.equal([]);
  });
});
