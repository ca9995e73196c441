/** Volumes that fail under living agents: the kernel's own failures, seen, told, gone around and mended. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { eventually, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface EventJson {
  readonly type: string;
  readonly subject: string;
  readonly message: string;
}
interface VolumeJson extends NodeJson {
  readonly volume_state: string;
  readonly volume_reason: string;
}

/** FS_IOC_SHUTDOWN without a flush of the journal: from then on everything on the file system says EIO. */
const SHUT_DOWN =
  'import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))';

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
      30_000,
    );
  const isMended = async (name: string): Promise<void> => {
    await told(name, 'node.volume_ok');
    await eventually(
      () => node(name),
      ({ status, volume_state }) => status === 'Running' && volume_state === 'ok',
      30_000,
    );
  };
  const isWhole = async (name: string, id: string): Promise<void> => {
    await cluster().ok('file', 'download', id, path('copy'));
    expect(readFileSync(path('copy')).equals(readFileSync(path(name)))).to.equal(true);
    await cluster().ok('file', 'verify', id);
  };

  before(async () => {
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--storage', '64M');
  });

  it('one that was shut down is read past, repaired around, told and mended; nothing is called corrupt', async () => {
    const id = await store('shut', 2);
    const { pid } = await node('b');
    execFileSync('python3', ['-c', SHUT_DOWN, `/proc/${pid}/root/data`]);
    await isWhole('shut', id);
    const events = await told('b', 'node.mending');
    expect(events.find(({ type }) => type === 'node.volume_bad')?.message).to.match(
      /volume of node b is failing: its file system was shut down; .*out of reach/,
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
    execFileSync('nsenter', [
      '-t',
      String(pid),
      '-m',
      'busybox',
      'mount',
      '-t',
      'ext4',
      '-o',
      'remount,ro',
      'none',
      '/data',
    ]);
    const events = await told('c', 'node.volume_bad');
    expect(events.at(-1)?.message).to.match(/volume of node c is read-only: its file system is mounted read-only$/);
    await isMended('c');
    await isWhole('remounted', id);
    await cluster().ok('file', 'rm', id);
  });
});
