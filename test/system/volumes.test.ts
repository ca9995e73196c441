/** Volumes that fail under living agents: the kernel's own failures, seen, told, gone around and mended. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { remountReadOnly, shutDownVolume } from '../support/faults.js';
import { fillUp } from '../support/small-disk.js';
import { describeWithCluster } from '../support/system.js';

interface EventJson {
  readonly type: string;
  readonly subject: string;
  readonly message: string;
}
interface VolumeJson extends NodeJson {
  readonly volume_state: string;
  readonly volume_reason: string;
  readonly status_reason: string;
}

describeWithCluster('volumes that fail under living agents', {}, (cluster) => {
  const path = (name: string): string => join(cluster().folder, name);
  const node = (name: string): Promise<VolumeJson> => cluster().json<VolumeJson>('node', 'inspect', name);
  const store = async (name: string, replicas: number): Promise<string> => {
    writeFileSync(path(name), randomBytes(1.5 * CHUNK_SIZE_BYTES));
    return (await cluster().json<{ id: string }>('file', 'upload', path(name), '--replicas', String(replicas))).id;
  };
  const eventsOf = async (subject: string): Promise<EventJson[]> =>
    (await cluster().json<EventJson[]>('events')).filter((event) => event.subject === subject);
  const told = (subject: string, type: string): Promise<EventJson[]> =>
    eventually(
      () => eventsOf(subject),
      (events) => events.some((event) => event.type === type),
    );
  const isMended = async (name: string): Promise<void> => {
    await told(name, 'node.volume_ok');
    await eventually(
      () => node(name),
      ({ status, volume_state }) => status === 'Running' && volume_state === 'ok',
    );
  };
  const isRead = async (name: string, id: string): Promise<void> => {
    await cluster().ok('file', 'download', id, path('copy'));
    expect(readFileSync(path('copy')).equals(readFileSync(path(name)))).to.equal(true);
  };
  const isWhole = async (name: string, id: string): Promise<void> => {
    await isRead(name, id);
    await cluster().ok('file', 'verify', id);
  };

  let isMounted = false;
  const disk = (): string => join(cluster().stateDir, 'volumes');
  const filler = (): string => join(disk(), 'filler');

  after(async () => {
    if (!isMounted) return;
    for (const name of ['a', 'b', 'c']) await cluster().run('node', 'rm', name, '--force');
    // Lazily: what a failed case has left of a node goes with the cluster.
    execFileSync('umount', ['--lazy', disk()]);
  });

  // A failed case must not take the room of the next.
  afterEach(() => {
    rmSync(filler(), { force: true });
  });

  before(async () => {
    // A small disk of its own for the volumes, so that it can be filled. What a new volume must leave free counts, too.
    mkdirSync(disk(), { recursive: true, mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=460m,mode=700', 'nexus-test', disk()]);
    isMounted = true;
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--storage', '64M');
  });

  it('one that was shut down is read past, repaired around, told and mended; nothing is called corrupt', async () => {
    const id = await store('shut', 2);
    const { pid } = await node('b');
    expect(shutDownVolume(pid)).to.equal(true);
    // Before anybody has noticed, too.
    await isRead('shut', id);
    const events = await told('b', 'node.mending');
    expect(events.find(({ type }) => type === 'node.volume_bad')?.message).to.match(
      /volume of node b is failing: its file system was shut down; .*unavailable/,
    );
    await isMended('b');
    await isWhole('shut', id);
    const types = (await cluster().json<EventJson[]>('events')).map(({ type }) => type);
    expect(types).not.to.include('replica.corrupt');
    const lines = cluster()
      .nodeLog((await node('b')).id)
      .split('\n')
      .filter((line) => line.includes('"name":"agent"'));
    expect(lines.length).to.be.below(30);
    await cluster().ok('file', 'rm', id);
  });

  it('one that an operator mounts read-only is read, takes nothing new, and is mended', async () => {
    const id = await store('remounted', 3);
    const { pid } = await node('c');
    expect(remountReadOnly(pid)).to.equal(true);
    const events = await told('c', 'node.volume_bad');
    expect(events.find(({ type }) => type === 'node.volume_bad')?.message).to.match(
      /volume of node c is read-only: its file system is mounted read-only$/,
    );
    await isMended('c');
    await isWhole('remounted', id);
    await cluster().ok('file', 'rm', id);
  });

  const imageOf = async (name: string): Promise<string> => join(disk(), `${(await node(name)).id}.img`);
  /** The block of a folder of the volume, as debugfs tells it. */
  const blockOf = (image: string, folder: string): { readonly start: number; readonly bytes: number } => {
    const ask = (what: string): string => execFileSync('debugfs', ['-R', what, image], { encoding: 'utf8' });
    const bytes = Number(/Block size:\s+(\d+)/.exec(ask('stats -h'))?.[1]);
    return { start: Number(/\(0\):(\d+)/.exec(ask(`stat ${folder}`))?.[1]) * bytes, bytes };
  };
  const overwrite = (image: string, at: number, bytes: Buffer): void => {
    const descriptor = openSync(image, 'r+');
    writeSync(descriptor, bytes, 0, bytes.length, at);
    closeSync(descriptor);
  };

  it('one in whose file system the kernel finds damage is told, checked by a restart, and whole again', async () => {
    const id = await store('damaged', 3);
    const { id: nodeId } = await node('b');
    const [chunk] = await cluster().json<{ chunk_id: string }[]>('agent', 'ls-chunks', 'b');
    await cluster().ok('node', 'stop', 'b');
    const image = await imageOf('b');
    const { start, bytes } = blockOf(image, `/chunks/${chunk?.chunk_id.slice(0, 2) ?? ''}`);
    // The checksum of the folder's block: the names in it are whole.
    overwrite(image, start + bytes - 4, randomBytes(4));
    const before = (await eventsOf('b')).length;
    await cluster().ok('node', 'start', 'b');
    const events = await eventually(
      async () => (await eventsOf('b')).slice(before),
      (seen) => seen.findLast(({ type }) => type.startsWith('node.volume_'))?.message.includes('works again') === true,
      60_000,
    );
    expect(events.map(({ message }) => message).join('\n')).to.match(
      /volume of node b is failing: its file system is damaged \(EBADMSG\)[^]*checks the volume and mounts it again/,
    );
    expect(cluster().nodeLog(nodeId)).to.match(/first-stage: volume was repaired: /);
    await isMended('b');
    await isWhole('damaged', id);
    await cluster().ok('file', 'rm', id);
  });

  it('one that can’t be repaired leaves its node Failed, with advice that works when it is followed', async () => {
    const id = await store('given-up', 3);
    await cluster().ok('node', 'stop', 'c');
    const image = await imageOf('c');
    overwrite(image, 1024, Buffer.alloc(1024));
    const refused = await cluster().run('node', 'start', 'c');
    expect(refused.code, refused.stderr).to.equal(4);
    const { status, status_reason: reason } = await node('c');
    expect(status).to.equal('Failed');
    expect(refused.stderr).to.include(reason);
    expect(reason).to.match(
      /the volume has no ext4 file system; what has copies elsewhere is safe: .*nexus node rm c,/,
    );
    const repair = /try to save that: (cp .* && e2fsck .*), then nexus node start c$/.exec(reason)?.[1];
    // 1: it has repaired something.
    const { status: repaired } = spawnSync('sh', ['-c', repair ?? 'false']);
    expect(repaired, repair).to.equal(1);
    await cluster().ok('node', 'start', 'c');
    await isWhole('given-up', id);

    await cluster().ok('node', 'stop', 'c');
    const { size } = statSync(image);
    truncateSync(image, 0);
    truncateSync(image, size);
    expect((await cluster().run('node', 'start', 'c')).code).to.equal(4);
    await cluster().ok('node', 'rm', 'c');
    rmSync(`${image}.before`);
    await isWhole('given-up', id);
    await cluster().ok('file', 'rm', id);
    await cluster().ok('node', 'create', 'c', '--storage', '64M');
  });

  it('one that hangs is told and gone around, is not restarted, and is well once it answers', async () => {
    const id = await store('hung', 2);
    const { pid } = await node('a');
    const data = openSync(`/proc/${pid}/root/data`, 'r');
    const freeze = (how: string): unknown => execFileSync('fsfreeze', [how, `/proc/${process.pid}/fd/${data}`]);
    freeze('--freeze');
    try {
      const events = await told('a', 'node.volume_bad');
      expect(events.find(({ type }) => type === 'node.volume_bad')?.message).to.match(/volume of node a is hung: /);
      const { warnings } = await cluster().json<{ warnings: string[] }>('status');
      expect(warnings.join('\n')).to.match(/volume of node a is hung .*a restart of the node does not help/);
      expect((await cluster().run('node', 'restart', 'a')).stderr).to.match(
        /does not answer, and a restart would wait/,
      );
      await isWhole('hung', id);
      const other = await store('meanwhile', 2);
      const where = await cluster().json<{ chunks: { replicas: { node: string }[] }[] }>('file', 'where', other);
      expect(where.chunks.flatMap(({ replicas }) => replicas).map((replica) => replica.node)).not.to.include('a');
      await cluster().ok('file', 'rm', other);
    } finally {
      freeze('--unfreeze');
      closeSync(data);
    }
    await isMended('a');
    await isWhole('hung', id);
    await cluster().ok('file', 'rm', id);
  });

  it('all of them, when the disk under them is full: read on, told, and mended once there is room again', async () => {
    const id = await store('kept', 2);
    fillUp(filler());
    writeFileSync(path('refused'), randomBytes(1.5 * CHUNK_SIZE_BYTES));
    const refused = await cluster().run('file', 'upload', path('refused'), '--replicas', '3');
    expect(refused.code).not.to.equal(0);
    // Planning refuses it where it has measured the disk by then, a node otherwise.
    expect(refused.stderr)
      .to.match(/\((ENOSPC|EROFS|EIO)\)|read-only|disk under the volumes is nearly full/)
      .and.not.include('suppressed');
    // What has its blocks already can still be written: only something new meets the full disk.
    const press = 'dd if=/dev/zero of=/data/pressed bs=1M count=24 conv=fsync 2>/dev/null; rm -f /data/pressed; true';
    for (const name of ['a', 'b', 'c']) await cluster().run('node', 'exec', name, '--', 'sh', '-c', press);
    const { volume_state } = await eventually(
      () => node('a'),
      (seen) => seen.volume_state !== 'ok',
    );
    expect(volume_state).to.equal('read-only');
    const { warnings } = await cluster().json<{ warnings: string[] }>('status');
    expect(warnings.some((warning) => /volume of node a is read-only.*nexus node restart a/.test(warning))).to.equal(
      true,
    );
    await cluster().ok('file', 'download', id, path('copy'));
    expect(readFileSync(path('copy')).equals(readFileSync(path('kept')))).to.equal(true);
    rmSync(filler());
    for (const name of ['a', 'b', 'c']) {
      await eventually(
        () => node(name),
        (seen) => seen.status === 'Running' && seen.volume_state === 'ok',
        60_000,
      );
    }
    await isWhole('kept', id);
    await cluster().ok('file', 'upload', path('refused'), '--replicas', '3');
  });

  const areDeleted = (): Promise<unknown> =>
    eventually(
      () => cluster().json<{ storage: { pending_deletes: number } }>('status'),
      ({ storage }) => storage.pending_deletes === 0,
    );

  it('one that the node has filled to the last block: deletions last, and it starts', async () => {
    for (const { id } of await cluster().json<{ id: string }[]>('file', 'ls')) await cluster().ok('file', 'rm', id);
    await areDeleted();
    // Removed chunks count as room with the next report.
    const since = Date.now();
    await eventually(
      () => cluster().json<{ report?: { at: string } }[]>('node', 'ls'),
      (nodes) => nodes.every(({ report }) => Date.parse(report?.at ?? '') > since),
    );
    const ids = [await store('first', 1), await store('second', 1), await store('third', 1)];
    const fill = 'i=0; while dd if=/dev/zero of=/data/fill.$i bs=1k count=1000 2>/dev/null; do i=$((i+1)); done';
    const last = 'while dd if=/dev/zero of=/data/last.$i bs=1k count=1 2>/dev/null; do i=$((i+1)); done';
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'exec', name, '--', 'sh', '-c', `${fill}; ${last}`);
    for (const id of ids) await cluster().ok('file', 'rm', id);
    await areDeleted();
    for (const name of ['a', 'b', 'c']) {
      await cluster().run('node', 'exec', name, '--', 'sh', '-c', `i=again; ${fill.replace('.$i', '.again.$i')}`);
      await cluster().ok('node', 'restart', name);
    }
  });
});
