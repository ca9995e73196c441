/** The virtual file system on real nodes: replaced while it is read, quotas, full volumes, and deaths in the middle. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES, MIB } from '../../shared/limits.js';
import { eventually, PROJECT, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface EntryJson {
  readonly path: string;
  readonly type: string;
  readonly size: number;
}
interface QuotaJson {
  readonly used: number;
  readonly reserved: number;
  readonly recounted_used: number;
}
interface StatusJson {
  readonly storage: { files: number; pending_deletes: number };
}

const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

// What a sender that is gone had reserved is free again after this long, ms.
const env = { NEXUS_UPLOAD_TTL_MS: '10000' };

describeWithCluster('the virtual file system on real nodes', { env }, (cluster) => {
  const path = (name: string): string => join(cluster().folder, name);
  const local = (name: string, bytes: number): Buffer => {
    const data = randomBytes(bytes);
    writeFileSync(path(name), data);
    return data;
  };
  const tree = async (): Promise<string[]> =>
    (await cluster().json<EntryJson[]>('fs', 'tree')).map((entry) => entry.path).sort();
  const quota = (): Promise<QuotaJson> => cluster().json<QuotaJson>('fs', 'quota', '--recount');
  const content = async (from: string): Promise<string> => {
    await cluster().ok('fs', 'download', from, path('copy'));
    return sha(readFileSync(path('copy')));
  };
  const isEmptyAgain = async (): Promise<void> => {
    await cluster().run('fs', 'rm', '-r', '/t');
    // What a reader began with counts until the controller knows that it has ended.
    await eventually(quota, ({ used, reserved }) => used === 0 && reserved === 0);
    await eventually(
      () => cluster().json<StatusJson>('status'),
      ({ storage }) => storage.pending_deletes === 0 && storage.files === 0,
    );
    const chunks = async (): Promise<number> => {
      const names = (await cluster().json<NodeJson[]>('node', 'ls')).filter((node) => node.status === 'Running');
      const counts = await Promise.all(
        names.map(({ name }) =>
          cluster().ok('node', 'exec', name, '--', 'sh', '-c', 'find /data/chunks -type f | wc -l'),
        ),
      );
      return counts.reduce((sum, text) => sum + Number(text), 0);
    };
    await eventually(chunks, (count) => count === 0);
  };

  before(async () => {
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--storage', '256M');
  });
  beforeEach(async () => {
    await cluster().ok('fs', 'mkdir', '/t');
  });
  afterEach(isEmptyAgain);

  it('takes folders up and down as they are', async () => {
    mkdirSync(path('tree/sub/empty'), { recursive: true });
    const files = new Map<string, string>();
    for (const [name, bytes] of [
      ['tree/none', 0],
      ['tree/two', 1.5 * CHUNK_SIZE_BYTES],
      ['tree/sub/é ñ', 5],
    ] as const)
      files.set(name, sha(local(name, bytes)));
    await cluster().ok('fs', 'upload', path('tree'), '/t');
    expect(await tree()).to.deep.equal(
      ['/t', '/t/tree', '/t/tree/none', '/t/tree/two', '/t/tree/sub', '/t/tree/sub/é ñ', '/t/tree/sub/empty'].sort(),
    );
    expect(await cluster().json('fs', 'du', '/t')).to.deep.include({ files: 3, folders: 3 });
    await cluster().ok('fs', 'download', '/t/tree', path('out'));
    for (const [name, hash] of files) expect(sha(readFileSync(path(name.replace('tree', 'out'))))).to.equal(hash);
    const again = await cluster().run('fs', 'upload', path('tree'), '/t');
    expect(again).to.include({ code: 4 });
    expect(again.stderr.trim().split('\n')).to.have.length(3);
    await cluster().ok('fs', 'upload', path('tree'), '/t', '--overwrite');
  });

  it('a download that began before a replacement finishes with the old content', async () => {
    const old = local('old', 9 * CHUNK_SIZE_BYTES);
    await cluster().ok('fs', 'upload', path('old'), '/t/f');
    local('new', CHUNK_SIZE_BYTES);
    // A reader that stops after the first bytes until the file has been replaced and its replacement removed.
    const reader = spawn(process.execPath, [join(PROJECT, 'dist/cli/main.js'), 'fs', 'download', '/t/f', '-'], {
      env: cluster().env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(reader, 'exit');
    const hash = createHash('sha256');
    let seen = 0;
    for await (const piece of reader.stdout as AsyncIterable<Buffer>) {
      if (seen === 0) {
        reader.stdout.pause();
        await cluster().ok('fs', 'upload', path('new'), '/t/f', '--overwrite');
        expect(await content('/t/f')).to.equal(sha(readFileSync(path('new'))));
        await cluster().ok('fs', 'rm', '/t/f');
        reader.stdout.resume();
      }
      seen += piece.length;
      hash.update(piece);
    }
    expect(await ended).to.deep.equal([0, null]);
    expect(seen).to.equal(old.length);
    expect(hash.digest('hex')).to.equal(sha(old));
  });

  it('a quota is refused before the first byte, and raw files count', async () => {
    local('big', 3 * CHUNK_SIZE_BYTES);
    const as = ['--as', 'bob'];
    const typo = await cluster().run('--as', 'bbo', 'file', 'upload', path('big'));
    expect(typo).to.include({ code: 3, stderr: 'nexus: --as: there is no user "bbo"; nexus user ls lists them\n' });
    for (const name of ['bob', 'eve']) await cluster().createUser(name);
    await cluster().ok(...as, 'fs', 'mkdir', '/x');
    const refused = await cluster().run(...as, 'fs', 'upload', path('big'), '/x/none', '--replicas', '9');
    expect(refused.code).to.equal(2);
    const raw = await cluster().json<{ id: string }>(...as, 'file', 'upload', path('big'));
    expect(await cluster().json(...as, 'fs', 'quota')).to.deep.include({
      used: 3 * CHUNK_SIZE_BYTES,
      limit: 500 * MIB,
    });
    expect((await cluster().run(...as, 'file', 'stat', 'ffff')).code).to.equal(3);
    // Somebody else's file is as good as not there.
    expect((await cluster().run('--as', 'eve', 'file', 'download', raw.id, '-')).code).to.equal(3);
    expect(await cluster().json('--as', 'eve', 'file', 'ls')).to.deep.equal([]);
    const huge = Readable.from(
      (function* () {
        for (let sent = 0; sent < 60; sent += 1) yield Buffer.alloc(CHUNK_SIZE_BYTES);
      })(),
    );
    const uploading = spawn(
      process.execPath,
      [join(PROJECT, 'dist/cli/main.js'), ...as, 'fs', 'upload', '-', '/x/huge'],
      {
        env: cluster().env,
        stdio: ['pipe', 'ignore', 'pipe'],
      },
    );
    let said = '';
    uploading.stderr.on('data', (text: Buffer) => {
      said += text.toString();
    });
    uploading.stdin.on('error', () => undefined);
    huge.pipe(uploading.stdin);
    const code = await new Promise((resolve) => uploading.once('close', resolve));
    expect(code).to.equal(4);
    expect(said).to.match(/quota of bob is 524288000 bytes|no room|room/);
    expect(await cluster().json(...as, 'fs', 'quota', '--recount')).to.include({
      used: 3 * CHUNK_SIZE_BYTES,
      reserved: 0,
      recounted_used: 3 * CHUNK_SIZE_BYTES,
    });
    await cluster().ok(...as, 'file', 'rm', raw.id);
    await cluster().ok(...as, 'fs', 'rm', '-r', '/x');
  });

  it('a volume that is filled to the brim takes no half of a file', async () => {
    for (const name of ['a', 'b', 'c'])
      await cluster().run(
        'node',
        'exec',
        name,
        '--',
        'sh',
        '-c',
        'dd if=/dev/zero of=/data/fill bs=1M 2>/dev/null; true',
      );
    try {
      local('late', 2 * CHUNK_SIZE_BYTES);
      const result = await cluster().run('fs', 'upload', path('late'), '/t/late');
      expect(result.code, result.stderr).to.equal(4);
      expect(await tree()).to.deep.equal(['/t']);
    } finally {
      for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'exec', name, '--', 'rm', '-f', '/data/fill');
    }
    await eventually(
      () => cluster().run('fs', 'upload', path('late'), '/t/late'),
      ({ code }) => code === 0,
    );
  });

  for (const [failpoint, isThere] of [
    ['upload/receipts-checked', false],
    ['upload/published', true],
  ] as const) {
    it(`a controller that dies at ${failpoint} leaves the file ${isThere ? 'whole' : 'out'}`, async () => {
      const data = local('data', 2.5 * CHUNK_SIZE_BYTES);
      await cluster().killController('SIGTERM');
      await cluster().startController({ NEXUS_FAILPOINT: failpoint });
      // The client waits for the next controller, which would carry out its request: it dies, too.
      const gone = new AbortController();
      const options = { signal: gone.signal, killSignal: 'SIGKILL' } as const;
      const uploading = cluster().typed(options, 'fs', 'upload', path('data'), '/t/data');
      const ended = uploading.then(
        ({ code, stderr }) => `${code}: ${stderr}`,
        (error: unknown) => (error as Error).name,
      );
      await cluster().controllerEnd();
      gone.abort();
      expect(await ended).to.equal('AbortError');
      await cluster().startController();
      expect(await tree()).to.deep.equal(isThere ? ['/t', '/t/data'] : ['/t']);
      if (isThere) expect(await content('/t/data')).to.equal(sha(data));
      await eventually(quota, ({ reserved }) => reserved === 0);
      expect((await quota()).used).to.equal(isThere ? data.length : 0);
    });
  }

  it('a removal that is cut short goes on after a restart', async () => {
    mkdirSync(path('many'), { recursive: true });
    for (let at = 0; at < 60; at += 1) writeFileSync(path(`many/${at}`), String(at));
    await cluster().ok('fs', 'upload', path('many'), '/t/many');
    await cluster().killController('SIGTERM');
    await cluster().startController({ NEXUS_FAILPOINT: 'fs/detached' });
    expect((await cluster().run('fs', 'rm', '-r', '/t/many')).code).to.equal(5);
    await cluster().controllerEnd();
    await cluster().startController();
    expect(await tree()).to.deep.equal(['/t']);
    await eventually(quota, ({ used }) => used === 0);
  });

  it('an agent that dies in the middle of a chunk costs nothing that was promised', async () => {
    const data = local('data', 12 * CHUNK_SIZE_BYTES);
    const victim = await cluster().json<NodeJson>('node', 'inspect', 'b');
    const uploading = cluster().run('fs', 'upload', path('data'), '/t/data', '--replicas', '2');
    await eventually(
      () => cluster().ok('node', 'exec', 'b', '--', 'sh', '-c', 'find /data/chunks -type f | wc -l'),
      (count) => Number(count) > 0,
    );
    process.kill(victim.pid, 'SIGKILL');
    const result = await uploading;
    expect(result.code, result.stderr).to.equal(0);
    expect(await content('/t/data')).to.equal(sha(data));
    await cluster().ok('node', 'start', 'b');
    expect(await content('/t/data')).to.equal(sha(data));
  });
});
