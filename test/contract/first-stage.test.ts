import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, open, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { ociConfig, STAGE_MOUNT_POINTS } from '../../controller/hosting/contained/bundle.js';
import { detectCgroupLayout } from '../../controller/hosting/contained/cgroup.js';
import { ImageFileVolumes } from '../../controller/hosting/contained/image-file.js';
import { newNodeId, type NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { skipWithoutSystem } from '../support/system.js';

const RUNTIME = resolve('dist/runtime');
const AGENT_UID = 799_001;
/** Far above what instances use; minor numbers end at 2^20. */
const LOOP_DEVICE = 1_040_000 + (process.pid % 8000);

/** Stands in for the agent and tells what it finds. */
const WITNESS = `
const { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } = require('node:fs');
const attempt = (work) => { try { work(); return 'done'; } catch (error) { return error.code; } };
const owner = (path) => { const { uid, mode } = statSync(path); return uid + ':' + (mode & 0o7777).toString(8); };
const text = (path) => readFileSync(path, 'utf8');
const fields = readFileSync('/proc/self/status', 'utf8').split('\\n').map((line) => line.split(':\\t'));
const status = Object.fromEntries(fields.filter(([name]) => /^(Uid|Gid|Groups|Cap|NoNewPrivs)/.test(name)));
// Looked at before anything is said: the test takes the mark away as soon as it has heard something.
const isToStay = existsSync('/.nexus/config/hold');
const kept = existsSync('/data/chunks/kept');
if (!kept) writeFileSync('/data/chunks/kept', 'content', { flush: true });
const until = (step) => { for (let count = 0; ; count += 1) if (attempt(() => step(count)) !== 'done') return; };
const full = Buffer.alloc(1 << 16);
const fill = {
  inodes: () => { mkdirSync('/data/chunks/many', { recursive: true }); until((count) => writeFileSync('/data/chunks/many/' + count, '')); },
  blocks: () => { for (const size of [1 << 16, 4096, 1]) until(() => appendFileSync('/data/chunks/large', full.subarray(0, size))); },
};
if (existsSync('/.nexus/config/fill')) for (const what of text('/.nexus/config/fill').split(' ')) fill[what]();
console.log(JSON.stringify({
  status,
  kept,
  owners: Object.fromEntries(['/data', '/data/chunks', '/data/tmp', '/data/.agent', '/data/.root', '/.nexus/run'].map((path) => [path, owner(path)])),
  mounts: readFileSync('/proc/mounts', 'utf8').split('\\n').map((line) => line.split(' ').slice(0, 3).join(' ')),
  loop: existsSync('/dev/loop${LOOP_DEVICE}'),
  image: existsSync('/.nexus/volume.img'),
  reopen: attempt(() => writeFileSync('/proc/self/fd/9', 'x')),
  environment: Object.keys(process.env).sort(),
  etc: Object.fromEntries(['hosts', 'hostname', 'resolv.conf'].map((name) => [name, attempt(() => text('/etc/' + name)) === 'done' ? text('/etc/' + name) : ''])),
  hidden: attempt(() => statSync('/data/.root/upper')),
  room: attempt(() => writeFileSync('/data/tmp/probe', 'x')),
}));
if (isToStay) setInterval(() => undefined, 1000);
`;

interface Witness {
  readonly status: Readonly<Record<string, string>>;
  readonly kept: boolean;
  readonly owners: Readonly<Record<string, string>>;
  readonly mounts: readonly string[];
  readonly loop: boolean;
  readonly image: boolean;
  readonly reopen: string;
  readonly environment: readonly string[];
  readonly etc: Readonly<Record<string, string>>;
  readonly hidden: string;
  readonly room: string;
}

describe('first stage', function () {
  this.timeout(180_000);
  let folder: string;
  let volumes: ImageFileVolumes;
  let nodeId: NodeId;
  let uuid: string;
  let holder: ChildProcess | undefined;

  before(function () {
    skipWithoutSystem(this);
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nexus-first-'));
    await chmod(folder, 0o755);
    for (const name of ['image', 'config', 'state']) await mkdir(join(folder, name));
    for (const name of STAGE_MOUNT_POINTS) await mkdir(join(folder, 'root', name), { recursive: true });
    await writeFile(join(folder, 'witness.cjs'), WITNESS);
    nodeId = newNodeId();
    uuid = randomUUID();
    volumes = new ImageFileVolumes(join(folder, 'volumes'));
    await volumes.create({ nodeId, sizeBytes: 64 * MIB, uuid }, AbortSignal.timeout(60_000));
  });
  afterEach(async () => {
    for (const name of ['one', 'two']) runc('delete', '--force', containerName(name));
    holder = undefined;
    await volumes.waitReleased({ nodeId, loopDevice: LOOP_DEVICE });
    await volumes.remove({ nodeId, loopDevice: LOOP_DEVICE });
    await rm(folder, { recursive: true, force: true });
  });

  const runc = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync('runc', ['--root', join(folder, 'state'), ...args]);
  const containerName = (name: string): string => `nx-first-${process.pid}-${name}`;

  async function bundle(name: string, more: { readonly volumeUuid?: string } = {}): Promise<string> {
    const path = join(folder, name);
    await mkdir(path, { recursive: true });
    const spec = {
      nodeId,
      hostname: name,
      rootfs: join(folder, 'image'),
      volumePath: volumes.pathOf(nodeId),
      volumeUuid: uuid,
      configDir: join(folder, 'config'),
      output: 1,
      loopDevice: LOOP_DEVICE,
      agentUid: AGENT_UID,
      limits: { memoryBytes: 256 * MIB, cpuWeight: 512, pids: 128 },
      ...more,
    };
    const host = {
      stageRoot: join(folder, 'root'),
      runtimeDir: RUNTIME,
      cgroupsPath: `/${containerName(name)}`,
      cgroupLayout: await detectCgroupLayout(),
    };
    const config = ociConfig(spec, host) as { mounts: object[] };
    const bind = (destination: string, source: string): object => ({
      destination,
      type: 'bind',
      source,
      options: ['bind', 'ro'],
    });
    config.mounts.push(bind('/.nexus/rt/agent.cjs', join(folder, 'witness.cjs')));
    config.mounts.push(bind('/.nexus/rt/first-stage.sh', resolve('agent/first-stage.sh')));
    await writeFile(join(path, 'config.json'), JSON.stringify(config));
    return path;
  }

  async function run(name: string, more: { readonly volumeUuid?: string } = {}) {
    const { status, stdout, stderr } = runc('run', '--bundle', await bundle(name, more), containerName(name));
    return { exitCode: status, stdout: String(stdout), lines: String(stderr).split('\n').filter(Boolean) };
  }

  /** The rest is what tini says of the agent's beginning and end. */
  const witnessOf = ({ stdout }: { readonly stdout: string }): Witness => {
    const [witness = '', ...ofInit] = stdout.trim().split('\n');
    expect(ofInit.at(-1)).to.match(/Main child exited normally \(with status '0'\)/);
    return JSON.parse(witness) as Witness;
  };

  async function hold(name: string): Promise<void> {
    await writeFile(join(folder, 'config', 'hold'), '');
    const child = spawn(
      'runc',
      ['--root', join(folder, 'state'), 'run', '--bundle', await bundle(name), containerName(name)],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    holder = child;
    for await (const _line of child.stdout) break;
    await rm(join(folder, 'config', 'hold'));
  }

  async function overwrite(offset: number, bytes: Buffer): Promise<void> {
    const image = await open(volumes.pathOf(nodeId), 'r+');
    try {
      await image.write(bytes, 0, bytes.length, offset);
    } finally {
      await image.close();
    }
  }

  it('becomes an agent without any privilege that has the volume and nothing below it, on an empty image', async () => {
    const result = await run('one');
    expect(result).to.include({ exitCode: 0 });
    expect(result.lines).to.deep.equal([]);
    const witness = witnessOf(result);
    const none = '0000000000000000';
    const uid = Array(4).fill(AGENT_UID).join('\t');
    expect(witness.status).to.include({
      Uid: uid,
      Gid: uid,
      NoNewPrivs: '1',
      CapPrm: none,
      CapEff: none,
      CapBnd: none,
      CapInh: none,
    });
    expect(witness.status['Groups']?.trim()).to.equal('');
    expect(witness.owners).to.deep.equal({
      '/data': '0:755',
      '/data/chunks': `${AGENT_UID}:700`,
      '/data/tmp': `${AGENT_UID}:700`,
      '/data/.agent': `${AGENT_UID}:700`,
      '/data/.root': '0:700',
      '/.nexus/run': `${AGENT_UID}:755`,
    });
    expect(witness).to.include({ loop: false, image: false });
    expect(witness.reopen, 'the lock descriptor').to.be.oneOf(['EROFS', 'EACCES']);
    expect(witness.mounts).to.include(`/dev/loop${LOOP_DEVICE} /data ext4`).and.to.include('overlay / overlay');
    expect(witness.hidden, 'what lies below the root').to.equal('EACCES');
    expect(witness.environment).to.deep.equal(['MALLOC_ARENA_MAX', 'NEXUS_AGENT_CONFIG', 'PATH', 'UV_THREADPOOL_SIZE']);
  });

  it('keeps what is on the volume, and checks one that was not unmounted', async () => {
    await hold('one');
    runc('delete', '--force', containerName('one'));
    await volumes.waitReleased({ nodeId, loopDevice: LOOP_DEVICE });
    // The mark that a power failure leaves: the journal has to be replayed. (A copy of the image of a mounted volume
    // would not do: it is no picture of one moment.)
    expect(spawnSync('debugfs', ['-w', '-R', 'feature needs_recovery', volumes.pathOf(nodeId)]).status).to.equal(0);
    const result = await run('two');
    expect(result.exitCode, result.lines.join('; ')).to.equal(0);
    expect(witnessOf(result).kept).to.equal(true);
    expect(result.lines).to.deep.equal(['first-stage: volume was dirty, checked']);
  });

  it('refuses a volume that another node has', async () => {
    await hold('one');
    const result = await run('two');
    expect(result.exitCode).to.equal(70);
    expect(result.lines).to.deep.equal(['first-stage: the volume is in use by another node; stop that node first']);
    expect(holder?.exitCode, 'the first node').to.equal(null);
  });

  it('refuses a volume with another UUID, and what is no file system', async () => {
    const wrong = await run('one', { volumeUuid: randomUUID() });
    expect(wrong.exitCode).to.equal(71);
    expect(wrong.lines).to.have.length(1);
    expect(wrong.lines[0]).to.match(/^first-stage: the volume has UUID .* not this node's/);
    await overwrite(1024, Buffer.alloc(1024));
    expect((await run('two')).exitCode).to.equal(71);
  });

  it('refuses a file system that is damaged beyond safe repair, and lets go of the loop device', async () => {
    // The root folder's inode is destroyed: what e2fsck -p will not decide alone.
    const found = spawnSync('debugfs', ['-w', '-R', 'clri <2>', volumes.pathOf(nodeId)]);
    expect(found.status).to.equal(0);
    spawnSync('debugfs', ['-w', '-R', 'set_super_value state 2', volumes.pathOf(nodeId)]);
    const result = await run('one');
    expect(result.exitCode).to.equal(72);
    expect(result.lines).to.have.length(2);
    expect(result.lines[0], 'the words of e2fsck').to.match(/^first-stage: said: .*RUN fsck MANUALLY/);
    expect(result.lines[1]).to.match(
      /^first-stage: the volume's file system is damaged, and e2fsck does not repair it/,
    );
    expect(existsSync(`/sys/block/loop${LOOP_DEVICE}/loop/backing_file`)).to.equal(false);
  });

  it('refuses a loop device that is attached to something else', async () => {
    const other = join(folder, 'other.img');
    await writeFile(other, Buffer.alloc(MIB));
    expect(spawnSync('losetup', [`/dev/loop${LOOP_DEVICE}`, other]).status).to.equal(0);
    try {
      const result = await run('one');
      expect(result.exitCode).to.equal(73);
      expect(result.lines).to.have.length(2);
      expect(result.lines[0]).to.match(/^first-stage: said: .*busy/i);
      expect(result.lines[1]).to.match(/^first-stage: \/dev\/loop\d+ cannot be attached; is it in use.* loop-base /);
    } finally {
      spawnSync('losetup', ['-d', `/dev/loop${LOOP_DEVICE}`]);
    }
  });

  /** Puts a link where the node's root, or somebody with an earlier version, could. */
  function plant(...commands: readonly string[]): void {
    const found = spawnSync('debugfs', ['-w', '-f', '-', volumes.pathOf(nodeId)], {
      input: `${commands.join('\n')}\n`,
      encoding: 'utf8',
    });
    // It exits with 0 whatever happens; without a complaint there is its own first line alone.
    expect(found.stderr.trim().split('\n'), commands.join('; ')).to.have.length(1);
  }

  const MOUNTS = ['proc /proc proc', 'tmpfs /dev tmpfs', 'sysfs /sys sysfs', 'tmpfs /tmp tmpfs', 'tmpfs /.nexus tmpfs'];
  const OF_STAGE = ['proc', 'dev', 'sys', 'tmp', 'data', '.nexus'].map((name) => `.root/upper/${name}`);
  const OF_VOLUME = ['.root', '.root/upper', '.root/work', '.root/reserve', 'chunks', 'tmp', '.agent'];

  for (const place of [...OF_STAGE, ...OF_VOLUME]) {
    it(`does not follow a link at ${place}, and starts`, async () => {
      // What stands in for the tools, should the volume get over them, is no program at all.
      await writeFile(join(folder, 'busybox'), 'no program');
      const above = ['.root', '.root/upper'].filter((name) => place.startsWith(`${name}/`));
      plant(
        ...['mkdir bin', `write ${join(folder, 'busybox')} bin/busybox`],
        ...[...above.map((name) => `mkdir ${name}`), `symlink ${place} /.nexus/rt`],
      );
      const result = await run('one');
      expect(result, result.lines.join('; ')).to.include({ exitCode: 0 });
      const shown = `/${place.startsWith('.root/upper/') ? place.slice('.root/upper/'.length) : `data/${place}`}`;
      expect(result.lines).to.deep.equal([`first-stage: ${shown} was not a folder; what was in its place is removed`]);
      const { mounts, owners } = witnessOf(result);
      expect(mounts).to.include.members([...MOUNTS, `/dev/loop${LOOP_DEVICE} /data ext4`, 'hidden /data/.root tmpfs']);
      expect(mounts.filter((line) => line.split(' ')[1] === '/.nexus/rt')).to.have.length(1);
      expect(owners).to.include({ '/data/.agent': `${AGENT_UID}:700`, '/data/.root': '0:700' });
    });
  }

  it('reads no preload list, no name service and no mount helper of image or volume with privileges', async () => {
    const image = join(folder, 'image');
    await Promise.all(['etc', 'sbin'].map((name) => mkdir(join(image, name))));
    // A library that can't be loaded is told of on standard error by every program that reads the list.
    await writeFile(join(image, 'etc', 'ld.so.preload'), '/lib/planted.so\n');
    await writeFile(join(image, 'etc', 'nsswitch.conf'), 'passwd: planted\ngroup: planted\n');
    for (const type of ['ext4', 'overlay', 'tmpfs']) {
      const helper = join(image, 'sbin', `mount.${type}`);
      await copyFile(join(RUNTIME, 'bin', 'busybox'), helper);
      await chmod(helper, 0o755);
    }
    const result = await run('one');
    expect(result, result.lines.join('; ')).to.include({ exitCode: 0 });
    expect(result.lines).to.deep.equal([]);
    expect(witnessOf(result).mounts)
      .to.include(`/dev/loop${LOOP_DEVICE} /data ext4`)
      .and.to.include('overlay / overlay');
  });

  it('sets host names and name servers, whatever the image has there', async () => {
    const given = { hosts: '127.0.0.1 localhost\n', hostname: 'one\n', 'resolv.conf': '# none\n' };
    await mkdir(join(folder, 'config', 'etc'));
    for (const [name, text] of Object.entries(given)) await writeFile(join(folder, 'config', 'etc', name), text);
    expect(witnessOf(await run('one')).etc, 'an empty image').to.deep.equal(given);
    const etc = join(folder, 'image', 'etc');
    await mkdir(etc);
    await symlink('/.nexus/config/agent.creds', join(etc, 'hosts'));
    await symlink('../run/systemd/resolve/stub-resolv.conf', join(etc, 'resolv.conf'));
    await writeFile(join(etc, 'hostname'), 'build-host\n');
    plant('unlink .root/upper/etc');
    const result = await run('two');
    expect(result.lines).to.deep.equal([]);
    expect(witnessOf(result).etc, 'links in the image').to.deep.equal(given);
    plant('unlink .root/upper/etc', 'symlink .root/upper/etc /.nexus/rt');
    const third = await run('one');
    expect(third.lines).to.deep.equal([
      'first-stage: /etc is not a folder; hosts, hostname and resolv.conf are not set',
    ]);
    expect(third.exitCode).to.equal(0);
  });

  for (const what of ['blocks', 'inodes blocks']) {
    it(`starts again and again a node that has used up its ${what.replace(' ', ' and ')}`, async () => {
      await writeFile(join(folder, 'config', 'fill'), what);
      for (const name of ['one', 'two', 'one']) {
        const result = await run(name);
        expect(result, result.lines.join('; ')).to.include({ exitCode: 0 });
        expect(result.lines).to.deep.equal([]);
        expect(witnessOf(result).room, 'for a file once it runs').to.equal('ENOSPC');
      }
    });
  }

  it('killed between attaching and mounting, leaves a loop device that the controller lets go', async () => {
    expect(spawnSync('losetup', [`/dev/loop${LOOP_DEVICE}`, volumes.pathOf(nodeId)]).status).to.equal(0);
    await volumes.waitReleased({ nodeId, loopDevice: LOOP_DEVICE });
    expect(existsSync(`/sys/block/loop${LOOP_DEVICE}/loop/backing_file`)).to.equal(false);
  });
});
