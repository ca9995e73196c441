/** Copies on real volumes: nodes that die, bits that flip, volumes that fill up, controllers and buses that end. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface FileJson {
  readonly id: string;
}
interface WhereJson {
  readonly chunks: { chunk_id: string; index: number; replicas: { node: string; state: string; reason: string }[] }[];
}
interface StatusJson {
  readonly nats: { pid: number };
  readonly storage: { under_replicated: number; files: number; chunks: number; pending_deletes: number };
  readonly repair: { lacking_chunks: number; running: number; blocked: string[] };
}
interface EventJson {
  readonly type: string;
  readonly message: string;
  readonly subject: string;
}

describeWithCluster('the upkeep of files on real volumes', {}, (cluster) => {
  const path = (name: string): string => join(cluster().folder, name);
  const store = async (name: string, bytes: number, replicas: number): Promise<FileJson> => {
    writeFileSync(path(name), randomBytes(bytes));
    return await cluster().json<FileJson>('file', 'upload', path(name), '--replicas', String(replicas));
  };
  const where = async (id: string): Promise<WhereJson['chunks']> =>
    (await cluster().json<WhereJson>('file', 'where', id, '--why')).chunks;
  const node = (name: string): Promise<NodeJson> => cluster().json<NodeJson>('node', 'inspect', name);
  const status = (): Promise<StatusJson> => cluster().json<StatusJson>('status');
  const eventTypes = async (): Promise<string[]> =>
    (await cluster().json<EventJson[]>('events')).map((event) => event.type);
  const isWhole = async (name: string, id: string): Promise<void> => {
    await cluster().ok('file', 'download', id, path('copy'));
    expect(readFileSync(path('copy')).equals(readFileSync(path(name)))).to.equal(true);
  };
  const allCopies = (): Promise<StatusJson> =>
    eventually(status, ({ storage, repair }) => storage.under_replicated === 0 && repair.lacking_chunks === 0);
  /** Changes one bit of a chunk on the volume of a running node. */
  const flipBit = async (name: string, chunk: string): Promise<void> => {
    const { pid } = await node(name);
    const file = `/data/chunks/${chunk.slice(0, 2)}/${chunk}`;
    const script = `byte=$(dd if=${file} bs=1 skip=1000 count=1 2>/dev/null | od -An -tu1); printf "\\\\$(printf %o $((byte ^ 1)))" | dd of=${file} bs=1 seek=1000 conv=notrunc 2>/dev/null`;
    execFileSync('nsenter', ['-t', String(pid), '-m', '/.nexus/rt/bin/busybox', 'sh', '-c', script]);
  };

  before(async () => {
    for (const name of ['a', 'b', 'c', 'd']) await cluster().ok('node', 'create', name, '--storage', '256M');
  });

  it('a node that dies is made good within seconds, and trimmed when it is back', async () => {
    const file = await store('two', 4.5 * CHUNK_SIZE_BYTES, 2);
    const victim = (await where(file.id))[0]!.replicas[0]!.node;
    process.kill((await node(victim)).pid, 'SIGKILL');
    await eventually(
      async () => (await where(file.id)).map((chunk) => chunk.replicas.filter((c) => c.node !== victim).length),
      (counts) => counts.every((count) => count === 2),
    );
    expect(await eventTypes()).to.include.members(['repair.started']);
    await isWhole('two', file.id);
    await cluster().ok('node', 'start', victim);
    await eventually(
      async () => (await where(file.id)).map((chunk) => chunk.replicas.filter((c) => c.state === 'ready').length),
      (counts) => counts.every((count) => count === 2),
    );
    await eventually(status, ({ storage }) => storage.pending_deletes === 0);
    await cluster().ok('file', 'verify', file.id);
    const reasons = (await where(file.id)).flatMap((chunk) => chunk.replicas.map((copy) => copy.reason));
    expect(reasons.some((reason) => reason.startsWith('dealt in turn'))).to.equal(true);
    expect(reasons.every((reason) => reason !== '')).to.equal(true);
    await cluster().ok('file', 'rm', file.id);
  });

  it('a flipped bit is read past, found by scrub, told and repaired', async () => {
    const file = await store('bit', 2 * CHUNK_SIZE_BYTES, 2);
    const [first, second] = await where(file.id);
    await flipBit(first!.replicas[0]!.node, first!.chunk_id);
    await isWhole('bit', file.id);
    await flipBit(second!.replicas[1]!.node, second!.chunk_id);
    const scrub = await cluster().run('file', 'scrub', '-o', 'json');
    // Reading may have found the first one already.
    expect([0, 1]).to.include(scrub.code);
    await eventually(eventTypes, (types) => types.filter((type) => type === 'replica.corrupt').length >= 2);
    await allCopies();
    await eventually(
      () => cluster().run('file', 'verify', file.id),
      ({ code }) => code === 0,
    );
    const again = await cluster().json<{ bad: number }[]>('file', 'scrub');
    expect(again.every((row) => row.bad === 0)).to.equal(true);
    await cluster().ok('file', 'rm', file.id);
  });

  it('a named pipe in place of a chunk is read past, found by scrub and repaired, as is a folder', async () => {
    const file = await store('pipe', 2 * CHUNK_SIZE_BYTES, 2);
    const [first, second] = await where(file.id);
    const replace = async (chunk: WhereJson['chunks'][number], by: string): Promise<void> => {
      const name = `/data/chunks/${chunk.chunk_id.slice(0, 2)}/${chunk.chunk_id}`;
      await cluster().ok('node', 'exec', chunk.replicas[0]!.node, '--', 'sh', '-c', `rm ${name} && ${by} ${name}`);
    };
    const corrupt = async (): Promise<number> =>
      (await eventTypes()).filter((type) => type === 'replica.corrupt').length;
    const before = await corrupt();
    await replace(first!, 'mkfifo');
    await replace(second!, 'mkdir');
    await isWhole('pipe', file.id);
    // Reading may have found them already.
    expect([0, 1]).to.include((await cluster().run('file', 'scrub')).code);
    await eventually(corrupt, (count) => count >= before + 2);
    await allCopies();
    await eventually(
      () => cluster().run('file', 'verify', file.id),
      ({ code }) => code === 0,
    );
    const again = await cluster().json<{ bad: number }[]>('file', 'scrub');
    expect(again.every((row) => row.bad === 0)).to.equal(true);
    expect((await cluster().run('status')).stdout).not.to.include('hung');
    await cluster().ok('file', 'rm', file.id);
    await eventually(status, ({ storage }) => storage.pending_deletes === 0);
  });

  it('a flipped bit in the only copy is a clear failure that names file, chunk and node', async () => {
    const file = await store('single', CHUNK_SIZE_BYTES, 1);
    const [chunk] = await where(file.id);
    await flipBit(chunk!.replicas[0]!.node, chunk!.chunk_id);
    expect((await cluster().run('file', 'scrub')).code).to.equal(1);
    const result = await cluster().run('file', 'download', file.id, path('never'));
    expect(result.code).to.equal(1);
    expect(result.stderr).to.include(file.id).and.include(chunk!.chunk_id).and.include(chunk!.replicas[0]!.node);
    const removal = await cluster().run('node', 'rm', chunk!.replicas[0]!.node);
    expect([removal.code, removal.stderr]).to.satisfy(
      ([code, text]: [number, string]) => code === 4 && text.includes(file.id),
      'the last copy is not thrown away, damaged as it is',
    );
    // The same bit again: what was damaged is whole, and scrub finds that out.
    await flipBit(chunk!.replicas[0]!.node, chunk!.chunk_id);
    expect((await cluster().run('file', 'scrub')).code).to.equal(0);
    await isWhole('single', file.id);
    await cluster().ok('file', 'rm', file.id);
  });

  it('a byte range comes from the chunks that it touches', async () => {
    const file = await store('range', 2.5 * CHUNK_SIZE_BYTES, 1);
    const data = readFileSync(path('range'));
    for (const [from, to] of [
      [0, 0],
      [CHUNK_SIZE_BYTES - 1, CHUNK_SIZE_BYTES],
      [5, 2 * CHUNK_SIZE_BYTES + 5],
      [data.length - 1, data.length - 1],
    ] as const) {
      await cluster().ok('file', 'download', file.id, path('part'), '--range', `${from}-${to}`);
      expect(readFileSync(path('part')).equals(data.subarray(from, to + 1))).to.equal(true);
    }
    expect((await cluster().run('file', 'download', file.id, path('x'), '--range', '9-5')).code).to.equal(2);
    await cluster().ok('file', 'rm', file.id);
  });

  it('a drain empties the node; its removal then needs no force', async () => {
    const file = await store('drain', 6 * CHUNK_SIZE_BYTES, 2);
    await cluster().ok('node', 'drain', 'a');
    const copies = (await where(file.id)).map((chunk) => chunk.replicas.filter((copy) => copy.state === 'ready'));
    expect(copies.flat().some((copy) => copy.node === 'a')).to.equal(false);
    for (const chunk of copies) expect(chunk).to.have.length(2);
    await cluster().ok('node', 'rm', 'a');
    await isWhole('drain', file.id);
    await cluster().ok('node', 'create', 'a', '--storage', '256M');
    const { moved_chunks: moved } = await cluster().json<{ moved_chunks: number }>('file', 'rebalance');
    expect(moved).to.be.greaterThan(0);
    await isWhole('drain', file.id);
    await cluster().ok('file', 'rm', file.id);
  });

  it('a removal that would lose files is refused and says which, also after the other copy has gone', async () => {
    const file = await store('precious', CHUNK_SIZE_BYTES, 1);
    const holder = (await where(file.id))[0]!.replicas[0]!.node;
    const refused = await cluster().run('node', 'rm', holder);
    expect(refused.code).to.equal(4);
    expect(refused.stderr).to.include('precious').and.include(file.id);
    await isWhole('precious', file.id);
    await cluster().ok('file', 'rm', file.id);
  });

  it('an upload whose second node dies goes on, and repair finishes it', async () => {
    await cluster().ok('node', 'cordon', 'c');
    await cluster().ok('node', 'cordon', 'd');
    writeFileSync(path('half'), randomBytes(8 * CHUNK_SIZE_BYTES));
    const uploading = cluster().run('file', 'upload', path('half'), '--replicas', '2', '-o', 'json');
    const { pid } = await node('b');
    await eventually(
      () => cluster().json<NodeJson & { report?: { chunks: number } }>('node', 'inspect', 'b'),
      (seen) => seen.status === 'Running',
    );
    process.kill(pid, 'SIGKILL');
    const result = await uploading;
    // Killed before the first grant it is refused: two copies were asked for and one node was there.
    if (result.code === 0) {
      const { id } = JSON.parse(result.stdout) as FileJson;
      await cluster().ok('node', 'uncordon', 'c');
      await allCopies();
      await isWhole('half', id);
      await cluster().ok('file', 'rm', id);
    } else {
      expect(result.stderr, result.stderr).to.match(/2 replicas need as many running nodes/);
    }
    for (const name of ['c', 'd']) await cluster().ok('node', 'uncordon', name);
    await cluster().ok('node', 'start', 'b');
    expect((await status()).storage.files).to.equal(0);
  });

  it('the bus killed during a repair costs time and nothing else', async () => {
    const file = await store('bus', 8 * CHUNK_SIZE_BYTES, 2);
    const victim = (await where(file.id))[0]!.replicas[0]!.node;
    const { nats } = await status();
    process.kill((await node(victim)).pid, 'SIGKILL');
    process.kill(nats.pid, 'SIGKILL');
    await allCopies();
    await isWhole('bus', file.id);
    await cluster().ok('node', 'start', victim);
    await cluster().ok('file', 'rm', file.id);
  });

  it('the controller killed during a repair: the next one finishes it and leaves no half copy', async () => {
    const file = await store('controller', 8 * CHUNK_SIZE_BYTES, 2);
    const victim = (await where(file.id))[0]!.replicas[0]!.node;
    process.kill((await node(victim)).pid, 'SIGKILL');
    await eventually(eventTypes, (types) => types.includes('repair.started'));
    await cluster().killController();
    await cluster().startController();
    await allCopies();
    await eventually(
      async () => (await where(file.id)).flatMap((chunk) => chunk.replicas.map((copy) => copy.state)),
      (states) => states.every((state) => state === 'ready'),
    );
    await isWhole('controller', file.id);
    await cluster().ok('node', 'start', victim);
    await cluster().ok('file', 'rm', file.id);
    await eventually(status, ({ storage }) => storage.pending_deletes === 0);
  });
});
