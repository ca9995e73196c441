import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, open, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { hostUidOfAgent, ociConfig, STAGE_MOUNT_POINTS } from '../../controller/hosting/contained/bundle.js';
import { OCI_PROGRAMS } from '../../controller/hosting/contained/programs.js';
import { detectCgroupLayout } from '../../shared/cgroup/layout.js';
import { identify } from '../../controller/host/process-identity.js';
import { ImageFileVolumes } from '../../controller/hosting/contained/image-file.js';
import { newNodeId, type NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';
import { shutDownVolume } from '../support/faults.js';
import { SmallDisk } from '../support/small-disk.js';
import { skipWithoutSystem } from '../support/system.js';

const RUNTIME = resolve('dist/runtime');
const STAGE = resolve('dist/node-stage');
const AGENT_UID = 799_001;
const SHARED_PAGES = 5000;
/** Below what instances use. */
const FIRST_ID = 0x6000_0000;
/** Far above what instances use; minor numbers end at 2^20. */
const LOOP_DEVICE = 1_040_000 + (process.pid % 8000);

/** Stands in for the agent, waits as it does for its root, and tells what it finds there. */
const WITNESS = `
const { appendFileSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, watch, writeFileSync } = require('node:fs');
const rootBefore = readdirSync('/').sort();
const waiting = watch('/.nexus', () => witness());
const witness = () => {
if (!existsSync('/.nexus/run')) return;
waiting.close();
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
  options: text('/proc/mounts').split('\\n').map((line) => line.split(' ')).find((fields) => fields[1] === '/data')[3].split(','),
  loop: existsSync('/dev/loop${LOOP_DEVICE}'),
  files: readdirSync('/proc/self/fd').map((fd) => { try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } }).filter((path) => path.startsWith('/')),
  map: text('/proc/self/uid_map').trim().split(/\\s+/).map(Number),
  environment: Object.keys(process.env).sort(),
  etc: Object.fromEntries(['hosts', 'hostname', 'resolv.conf'].map((name) => [name, attempt(() => text('/etc/' + name)) === 'done' ? text('/etc/' + name) : ''])),
  sharedPages: text('/proc/sys/kernel/shmall').trim(),
  replaced: existsSync('/replaced') ? readdirSync('/replaced') : [],
  whole: existsSync('/whole') ? readdirSync('/whole') : [],
  looked: existsSync('/.nexus/config/look') ? text('/.nexus/config/look').split(' ').map((path) => { const { uid, gid, mode } = lstatSync(path); return [path, uid, gid, (mode & 0o7777).toString(8)].join(' '); }) : [],
  rootBefore,
  rootAfter: [process.cwd(), ...readdirSync('/').sort()],
  hidden: attempt(() => statSync('/data/.root/upper')),
  room: attempt(() => writeFileSync('/data/tmp/probe', 'x')),
}));
if (isToStay) setInterval(() => undefined, 1000);
};
witness();
`;

interface Witness {
  readonly status: Readonly<Record<string, string>>;
  readonly kept: boolean;
  readonly owners: Readonly<Record<string, string>>;
  readonly mounts: readonly string[];
  readonly options: readonly string[];
  readonly loop: boolean;
  readonly files: readonly string[];
  readonly map: readonly number[];
  readonly environment: readonly string[];
  readonly etc: Readonly<Record<string, string>>;
  readonly sharedPages: string;
  readonly replaced: readonly string[];
  readonly whole: readonly string[];
  /** Owners and modes of the paths in the file. */
  readonly looked: readonly string[];
  /** Names in its root when it began. */
  readonly rootBefore: readonly string[];
  /** Its working folder, and the names in its root when it had waited. */
  readonly rootAfter: readonly string[];
  readonly hidden: string;
  readonly room: string;
}

interface Different {
  readonly agentUid?: number;
  readonly volumeUuid?: string;
  /** Program that takes the place of e2fsck. */
  readonly checker?: string;
  /** The agent waits before the stage begins. */
  readonly waits?: boolean;
}

describe('the first stage of a node', function () {
  this.timeout(180_000);
  let folder: string;
  let volumes: ImageFileVolumes;
  let nodeId: NodeId;
  let uuid: string;
  let holder: number | undefined;

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
    await released();
    await volumes.remove({ nodeId, loopDevice: LOOP_DEVICE });
    await rm(folder, { recursive: true, force: true });
  });

  /** The device itself is gone then, too: the stage below is not asked whether it is free. */
  const released = async (): Promise<void> => {
    await volumes.waitReleased({ nodeId, loopDevice: LOOP_DEVICE });
    await volumes.settled();
  };
  const runc = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync('runc', ['--root', join(folder, 'state'), ...args]);
  const containerName = (name: string): string => `nx-first-${process.pid}-${name}`;

  const isAttached = (): boolean => existsSync(`/sys/block/loop${LOOP_DEVICE}/loop/backing_file`);

  async function bundle(name: string, { volumeUuid = uuid, agentUid = AGENT_UID }: Different = {}): Promise<string> {
    const path = join(folder, name);
    await mkdir(path, { recursive: true });
    const spec = {
      nodeId,
      hostname: name,
      rootfs: join(folder, 'image'),
      volumePath: volumes.pathOf(nodeId),
      volumeUuid,
      configDir: join(folder, 'config'),
      output: 1,
      loopDevice: LOOP_DEVICE,
      agentUid,
      firstId: FIRST_ID,
      limits: { memoryBytes: 256 * MIB, cpuWeight: 512, pids: 128 },
    };
    const host = {
      stageRoot: join(folder, 'root'),
      runtimeDir: RUNTIME,
      cgroupsPath: `/${containerName(name)}`,
      cgroupLayout: await detectCgroupLayout(),
      program: OCI_PROGRAMS.runc,
    };
    const config = ociConfig(spec, host) as { mounts: object[] };
    const bind = (destination: string, source: string): object => ({
      destination,
      type: 'bind',
      source,
      options: ['bind', 'ro'],
    });
    config.mounts.push(bind('/.nexus/rt/agent.cjs', join(folder, 'witness.cjs')));
    await writeFile(join(path, 'config.json'), JSON.stringify(config));
    return path;
  }

  /** Creates the container; the pid of its first process. */
  function create(name: string, path: string, output: number): number {
    const pidFile = join(path, 'pid');
    const options = ['--root', join(folder, 'state'), 'create', '--bundle', path, '--pid-file', pidFile];
    const { status } = spawnSync('runc', [...options, containerName(name)], { stdio: ['ignore', output, output] });
    expect(status, 'runc create').to.equal(0);
    return Number(readFileSync(pidFile, 'utf8'));
  }

  function argumentsFor(pid: number, { volumeUuid = uuid, agentUid = AGENT_UID }: Different = {}): string[] {
    const ticks = identify(pid)?.startTicks ?? '';
    const places = [join(folder, 'image'), volumes.pathOf(nodeId), join(folder, 'config')];
    return [process.pid, pid, ticks, LOOP_DEVICE, volumeUuid, agentUid, SHARED_PAGES, ...places].map(String);
  }

  /** The command line of the stage, which finds the file as e2fsck. */
  const stageWith = (checker: string | undefined, args: readonly string[]): [string, ...string[]] => {
    if (checker === undefined) return [STAGE, ...args];
    const replaced = 'mount --bind "$0" "$(readlink -f "$(command -v e2fsck)")" && exec "$@"';
    return ['unshare', '--mount', 'sh', '-c', replaced, checker, STAGE, ...args];
  };

  /** Starts the container and runs the stage; its exit code and words. The container's output goes to the file. */
  async function stage(name: string, more: Different = {}) {
    const path = await bundle(name, more);
    const output = await open(join(path, 'output'), 'w');
    const pid = create(name, path, output.fd);
    await output.close();
    expect(runc('start', containerName(name)).status).to.equal(0);
    if (more.waits === true) await eventually(() => watches(pid), Boolean);
    const [program, ...args] = stageWith(more.checker, argumentsFor(pid, more));
    const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    const lines = stderr.split('\n').filter(Boolean);
    if (status !== 0) expect(lines.at(-1), 'the last line is for people').to.match(/^first-stage: (?!said:)/);
    return { exitCode: status, lines, pid, output: join(path, 'output') };
  }

  /** The same, and the witness until its end. */
  async function run(name: string, more: Different = {}) {
    const { pid, output, ...result } = await stage(name, more);
    if (result.exitCode === 0) {
      await eventually(
        () => existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(statusOf(pid)),
        (lives) => !lives,
      );
    }
    const stdout = await readFile(output, 'utf8');
    runc('delete', '--force', containerName(name));
    // After a failure, too, without anything done for it. Another node, or something else, may have the device.
    if (result.exitCode !== 70 && result.exitCode !== 73) await eventually(isAttached, (attached) => !attached);
    if (result.exitCode === 0) await released();
    return { ...result, stdout };
  }

  /** Whether the agent below the first process has begun to watch for its root. */
  const watches = (pid: number): boolean => {
    try {
      const agent = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
      return readdirSync(`/proc/${agent}/fd`).some((fd) => readlinkSync(`/proc/${agent}/fd/${fd}`).includes('inotify'));
    } catch {
      return false;
    }
  };

  const statusOf = (pid: number): string => {
    try {
      return readFileSync(`/proc/${pid}/status`, 'utf8');
    } catch {
      return '';
    }
  };

  /** The rest is what the init says of the agent's end. */
  const witnessOf = ({ stdout }: { readonly stdout: string }): Witness => {
    const [witness = '', ...ofInit] = stdout.trim().split('\n');
    expect(ofInit.at(-1)).to.equal('node-init: the program ended with exit status 0');
    return JSON.parse(witness) as Witness;
  };

  async function hold(name: string): Promise<void> {
    await writeFile(join(folder, 'config', 'hold'), '');
    const { exitCode, pid, output } = await stage(name);
    expect(exitCode).to.equal(0);
    holder = pid;
    await eventually(
      () => readFileSync(output, 'utf8'),
      (said) => said.includes('\n'),
    );
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
    expect(witness.loop).to.equal(false);
    // Standard input is /dev/null of the root that is gone; output goes to a file of this test.
    const files = witness.files.filter(
      (path) => path !== '/' && !path.endsWith('/output') && !/^\/(dev|proc)\//.test(path),
    );
    expect(files, 'open files').to.deep.equal([]);
    expect(witness.map).to.deep.equal([
      0,
      FIRST_ID,
      65_535,
      AGENT_UID,
      hostUidOfAgent({ agentUid: AGENT_UID, firstId: FIRST_ID }),
      1,
    ]);
    expect(witness.mounts).to.include(`/dev/loop${LOOP_DEVICE} /data ext4`).and.to.include('overlay / overlay');
    expect(witness.options).to.include.members(['nosuid', 'nodev']);
    expect(witness.sharedPages).to.equal(String(SHARED_PAGES));
    expect(witness.hidden, 'what lies below the root').to.equal('EACCES');
    expect(witness.environment).to.include.members([
      'MALLOC_ARENA_MAX',
      'NEXUS_AGENT_CONFIG',
      'PATH',
      'UV_THREADPOOL_SIZE',
    ]);
  });

  it('gives its root to the agent that runs already', async () => {
    const { rootBefore, rootAfter } = witnessOf(await run('one', { waits: true }));
    expect(rootBefore).to.deep.equal([...STAGE_MOUNT_POINTS].sort());
    expect(rootAfter).to.deep.equal(['/', '.nexus', 'data', 'dev', 'proc', 'sys', 'tmp']);
  });

  it('keeps what is on the volume, and checks one that was not unmounted', async () => {
    await hold('one');
    runc('delete', '--force', containerName('one'));
    await released();
    // The mark that a power failure leaves: the journal has to be replayed. (A copy of the image of a mounted volume
    // would not do: it is no picture of one moment.)
    expect(spawnSync('debugfs', ['-w', '-R', 'feature needs_recovery', volumes.pathOf(nodeId)]).status).to.equal(0);
    const result = await run('two');
    expect(result.exitCode, result.lines.join('; ')).to.equal(0);
    expect(witnessOf(result).kept).to.equal(true);
    expect(result.lines).to.deep.equal(['first-stage: volume was dirty, checked']);
  });

  it('blames no volume while the disk under it is full', async () => {
    const disk = new SmallDisk(join(folder, 'disk'), 400);
    const elsewhere = volumes;
    try {
      volumes = new ImageFileVolumes(join(disk.path, 'volumes'));
      await volumes.create({ nodeId, sizeBytes: 64 * MIB, uuid }, AbortSignal.timeout(60_000));
      for (const request of ['clri <2>', 'set_super_value state 2'])
        expect(spawnSync('debugfs', ['-w', '-R', request, volumes.pathOf(nodeId)]).status).to.equal(0);
      disk.fill();
      const full = await run('one');
      expect(full.exitCode).to.equal(79);
      expect(full.lines.at(-1)).to.equal("first-stage: the host's disk under its volume is full");
      disk.free();
      expect((await run('two')).exitCode, 'with room again').to.equal(72);
    } finally {
      volumes = elsewhere;
      disk.remove();
    }
  });

  it('keeps the journal, and what was synced with it, while the disk under it is full', async () => {
    const disk = new SmallDisk(join(folder, 'disk'), 400);
    const elsewhere = volumes;
    const names = Array.from({ length: 60 }, (_, number) => `synced-${number}`);
    try {
      volumes = new ImageFileVolumes(join(disk.path, 'volumes'));
      await volumes.create({ nodeId, sizeBytes: 64 * MIB, uuid }, AbortSignal.timeout(60_000));
      await hold('one');
      // Inodes and folders that have no block on the disk yet, but in the journal.
      const write = `for name in ${names.join(' ')}; do
        busybox mkdir /data/$name && printf $name | busybox dd of=/data/$name/file conv=fsync 2>/dev/null || exit 1; done`;
      const asRoot = ['-t', String(holder), '-U', '-m', '-S', '0', '-G', '0'];
      const shell = ['/.nexus/rt/bin/busybox', 'env', 'PATH=/.nexus/rt/bin', 'busybox', 'sh', '-c', write];
      expect(spawnSync('nsenter', [...asRoot, ...shell], { encoding: 'utf8' })).to.include({ stderr: '', status: 0 });
      disk.fill();
      expect(shutDownVolume(holder ?? 0)).to.equal(true);
      runc('delete', '--force', containerName('one'));
      await released();
      expect((await run('one')).exitCode).to.equal(79);
      disk.free();
      const freed = await run('two');
      expect(freed.exitCode, freed.lines.join('; ')).to.equal(0);
      for (const name of names) {
        const read = spawnSync('debugfs', ['-R', `cat /${name}/file`, volumes.pathOf(nodeId)], { encoding: 'utf8' });
        expect(read.stdout).to.equal(name);
      }
    } finally {
      runc('delete', '--force', containerName('one'));
      await released();
      volumes = elsewhere;
      disk.remove();
    }
  });

  it('refuses a volume that another node has', async () => {
    await hold('one');
    const result = await run('two');
    expect(result.exitCode).to.equal(70);
    expect(result.lines).to.deep.equal(['first-stage: the volume is in use by another node; stop that node first']);
    expect(statusOf(holder ?? 0), 'the first node').to.contain('Name:\t');
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
  });

  it('tells damage from an e2fsck that could not do its work', async () => {
    const checker = join(folder, 'e2fsck');
    const endsWith = async (script: string, mode = 0o755): Promise<{ exitCode: number | null; lines: string[] }> => {
      expect(spawnSync('debugfs', ['-w', '-R', 'feature needs_recovery', volumes.pathOf(nodeId)]).status).to.equal(0);
      await rm(checker, { force: true });
      await writeFile(checker, script, { mode });
      const { exitCode, lines } = await run('one', { checker });
      return { exitCode, lines };
    };
    const says = '#!/bin/sh\necho why\n';
    const damaged = "first-stage: the volume's file system is damaged, and e2fsck does not repair it without a person";
    const said = 'first-stage: said: why ';
    for (const code of [4, 6, 12])
      expect(await endsWith(`${says}exit ${code}`), String(code)).to.deep.equal({
        exitCode: 72,
        lines: [said, damaged],
      });
    for (const code of [8, 16, 32, 128]) {
      const { exitCode, lines } = await endsWith(`${says}exit ${code}`);
      expect({ exitCode, said: lines[0] }, String(code)).to.deep.equal({ exitCode: 78, said });
      expect(lines[1]).to.match(new RegExp(`^first-stage: e2fsck could not check the volume, exit status ${code}: `));
    }
    const ended = await endsWith(`${says}kill -9 $$`);
    expect(ended.exitCode).to.equal(78);
    expect(ended.lines.at(-1)).to.match(/^first-stage: e2fsck was ended by signal 9 before /);
    const missing = await endsWith('', 0o644);
    expect(missing.exitCode).to.equal(78);
    expect(missing.lines.at(-1)).to.match(/^first-stage: e2fsck cannot be run, .*install e2fsprogs$/);
    for (const code of [1, 2])
      expect(await endsWith(`${says}exit ${code}`), String(code)).to.deep.equal({
        exitCode: 0,
        lines: ['first-stage: volume was repaired: why '],
      });
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

  it('opens no pipe and no device in place of a folder, and starts', async () => {
    const folders = ['.root', '.root/upper', '.root/upper/etc'].map((name) => `mkdir ${name}`);
    const planted = [...OF_STAGE, ...OF_VOLUME.slice(2), '.root/upper/etc/hosts'];
    const made = planted.flatMap((place, at) => [
      `cd /${dirname(place)}`,
      `mknod ${basename(place)} ${at % 2 === 0 ? 'p' : 'c 10 130'}`,
    ]);
    plant(...folders, ...made);
    await mkdir(join(folder, 'config', 'etc'));
    for (const name of ['hosts', 'hostname', 'resolv.conf'])
      await writeFile(join(folder, 'config', 'etc', name), 'set');
    const result = await run('one');
    expect(result, result.lines.join('; ')).to.include({ exitCode: 0 });
    expect(result.lines, 'all but /etc/hosts are told').to.have.length(planted.length - 1);
    expect(witnessOf(result).etc['hosts']).to.equal('set');
  });

  it('tells a volume without any room, and a root that cannot be put together, and leaves neither mount nor device', async () => {
    inEarlierNode('cd data; seq 20000 | xargs touch 2> /dev/null || true');
    const full = await run('one');
    expect(full.exitCode).to.equal(74);
    expect(full.lines).to.deep.equal([
      'first-stage: said: No space left on device',
      "first-stage: the volume's folders cannot be made: is the volume full?",
    ]);
    await released();
    await volumes.remove({ nodeId, loopDevice: LOOP_DEVICE });
    await volumes.create({ nodeId, sizeBytes: 64 * MIB, uuid }, AbortSignal.timeout(60_000));
    // A folder that nobody can look into is no lower layer.
    await rm(join(folder, 'image'), { recursive: true });
    await writeFile(join(folder, 'image'), '');
    const rootless = await run('two');
    expect(rootless.exitCode).to.equal(75);
    expect(rootless.lines.at(-1)).to.match(/^first-stage: the node's parts cannot be mounted/);
    expect(
      spawnSync('grep', ['-c', `loop${LOOP_DEVICE}`, '/proc/self/mountinfo'], { encoding: 'utf8' }).stdout,
    ).to.equal('0\n');
  });

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

  it('begins an agent that loads nothing which OpenSSL settings of the node name', async () => {
    const settings = join(folder, 'image', 'etc', 'ssl');
    await mkdir(settings, { recursive: true });
    // Node refuses to start with a provider that it cannot load.
    const sections = [
      'nodejs_conf = n',
      '[n]',
      'providers = p',
      '[p]',
      'evil = e',
      '[e]',
      'module = /data/none.so',
      'activate = 1',
    ];
    await writeFile(join(settings, 'openssl.cnf'), `${sections.join('\n')}\n`);
    expect(witnessOf(await run('one')).kept).to.equal(false);
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

  /** Runs as root of the host in a node's root as version 0.1 mounted it. */
  function inEarlierNode(script: string, options = ''): void {
    const mounts = [
      'set -eu',
      `losetup /dev/loop${LOOP_DEVICE} ${volumes.pathOf(nodeId)}`,
      `trap 'losetup -d /dev/loop${LOOP_DEVICE}' EXIT`,
      `mount -t ext4 -o nosuid,nodev /dev/loop${LOOP_DEVICE} ${join(folder, 'root', 'volume')}`,
      `cd ${join(folder, 'root', 'volume')}`,
      'mkdir -p .root/upper .root/work chunks',
      `mount -t overlay overlay -o nosuid,nodev,lowerdir=${join(folder, 'image')},upperdir=.root/upper,workdir=.root/work${options} ../root`,
      'cd ../root',
      'mkdir -p data',
      'mount --bind ../volume data',
      script,
    ];
    const run = spawnSync('unshare', ['--mount', 'sh', '-c', mounts.join('\n')], { encoding: 'utf8' });
    expect(run, run.stderr).to.include({ status: 0 });
  }

  it('reads the layer of an earlier version, whose marks were those of root of the host, as it was', async () => {
    for (const name of ['replaced', 'whole']) {
      await mkdir(join(folder, 'image', name));
      await writeFile(join(folder, 'image', name, 'old'), '');
    }
    inEarlierNode('rm -r replaced; mkdir -p replaced/new whole/new; touch whole/file');
    // Plain data of that node, which would be marks in this one.
    const data = ['whole', 'whole/file', ''].map((path) => `ea_set .root/upper/${path} user.overlay.opaque y`);
    plant(...data, 'ea_set .root/upper/whole/file user.overlay.metacopy x', 'ea_set .root/upper/whole user.own x');
    for (const name of ['one', 'two']) {
      const { replaced, whole } = witnessOf(await run(name));
      expect({ replaced, whole }).to.deep.equal({ replaced: ['new'], whole: ['file', 'new', 'old'] });
    }
    const marks = (path: string): string =>
      spawnSync('debugfs', ['-R', `ea_list .root/upper/${path}`, volumes.pathOf(nodeId)], { encoding: 'utf8' }).stdout;
    expect(marks('whole'), 'of its own').to.contain('user.own').and.not.to.contain('user.overlay.opaque');
    expect(marks('whole/file')).not.to.contain('user.overlay');
  });

  it('gives to nobody what an earlier version gave to ids that a node has no more, and keeps other owners', async () => {
    const owners = {
      'their/file': '70000:5',
      their: '65535:65535',
      'their/program': '5:4000000000',
      'data/file': '70000:70000',
    };
    const made =
      'mkdir their; touch their/file their/program data/file data/chunks/file mine; ln -s nowhere their/link';
    const given = Object.entries(owners).map(([path, owner]) => `chown ${owner} ${path}`);
    inEarlierNode(
      [
        made,
        ...given,
        'chown -h 70000 their/link; chown 65534:33 mine; chmod 6755 their/program; chmod 2755 their',
        `chown -R ${AGENT_UID}:70001 data/chunks`,
      ].join('\n'),
    );
    const looked = ['/their', '/their/file', '/their/link', '/their/program', '/data/file', '/mine'];
    await writeFile(join(folder, 'config', 'look'), [...looked, '/data/chunks/file'].join(' '));
    const result = await run('one');
    expect(result.lines).to.deep.equal([
      "first-stage: 5 files belonged to ids above 65534, which a node has no more, and are nobody's now",
    ]);
    expect(witnessOf(result).looked).to.deep.equal([
      '/their 65534 65534 2755',
      '/their/file 65534 5 644',
      '/their/link 65534 0 777',
      '/their/program 5 65534 755',
      '/data/file 65534 65534 644',
      '/mine 65534 33 644',
      `/data/chunks/file ${AGENT_UID} ${AGENT_UID} 644`,
    ]);
    expect((await run('two')).lines, 'once').to.deep.equal([]);
  });

  for (const agentUid of [AGENT_UID + 3, 1000]) {
    it(`gives what its agent had to the agent of another slot, ${agentUid}, and back`, async () => {
      await writeFile(join(folder, 'config', 'look'), '/data/chunks');
      expect(witnessOf(await run('one'))).to.deep.include({ kept: false });
      await writeFile(join(folder, 'config', 'look'), '/data/chunks /data/chunks/kept /data/tmp/probe');
      for (const uid of [agentUid, AGENT_UID]) {
        const { kept, looked } = witnessOf(await run('two', { agentUid: uid }));
        expect({ kept, looked }).to.deep.equal({
          kept: true,
          looked: [
            `/data/chunks ${uid} ${uid} 700`,
            `/data/chunks/kept ${uid} ${uid} 644`,
            `/data/tmp/probe ${uid} ${uid} 644`,
          ],
        });
      }
    });
  }

  it('takes over a layer that is thousands of folders deep, and keeps the place of each mark', async () => {
    const deep = Array<string>(15_000).fill('mkdir d\ncd d');
    plant(
      'mkdir .root',
      'cd .root',
      'mkdir upper',
      'cd upper',
      ...deep,
      'mkdir o',
      'ea_set o trusted.overlay.opaque y',
    );
    const result = await run('one');
    expect(result, result.lines.join('; ')).to.include({ exitCode: 0 });
    const ways = ['cd .root/upper', ...Array<string>(15_000).fill('cd d'), 'ea_list o'];
    const { stdout } = spawnSync('debugfs', ['-f', '-', volumes.pathOf(nodeId)], {
      input: ways.join('\n'),
      encoding: 'utf8',
    });
    expect(stdout.slice(-200)).to.contain('user.overlay.opaque (1) = "y"');
  });

  it('refuses a layer with what only the mounts of an earlier version can read, and names it', async () => {
    await mkdir(join(folder, 'image', 'folder', 'inner'), { recursive: true });
    await writeFile(join(folder, 'image', 'file'), 'content');
    inEarlierNode(
      'mv folder/inner moved; mkdir in; mv folder "in/to\nit"; chmod 600 file',
      ',redirect_dir=on,metacopy=on',
    );
    const result = await run('one');
    expect(result.exitCode).to.equal(77);
    expect(result.lines.slice(0, -1)).to.have.members([
      'first-stage: /moved has the mark trusted.overlay.redirect',
      'first-stage: /in/to?it has the mark trusted.overlay.redirect',
      'first-stage: /file has the mark trusted.overlay.metacopy',
    ]);
    expect(result.lines.at(-1)).to.match(/^first-stage: the node's root has folders or files that only .*upgrade\.md/);
    // As the guide says.
    const anew = 'for path in moved in file; do cp -a $path anew; rm -r $path; mv anew $path; done';
    inEarlierNode(anew, ',redirect_dir=on,metacopy=on');
    expect((await run('two')).exitCode).to.equal(0);
  });

  it('refuses arguments that are none, and a process that is none', () => {
    const given = argumentsFor(process.pid);
    const ends = (args: readonly string[]): number | null => spawnSync(STAGE, args).status;
    expect(ends(given.slice(1))).to.equal(64);
    for (const [at, wrong] of [
      [0, 'x'],
      [0, '0'],
      [1, 'x'],
      [1, '1'],
      [2, ''],
      [2, '-7'],
      [3, '-1'],
      [3, '2000000'],
      [4, uuid.slice(1)],
      [4, `${uuid}0`],
      [5, '0'],
      [5, '9x'],
      [6, ''],
      [6, '1e3'],
    ] as const)
      expect(ends(given.with(at, wrong)), `${at}: ${wrong}`).to.equal(64);
    expect(ends(given.with(1, String(2 ** 22 + 1))), 'beyond the largest process id').to.equal(76);
  });

  it('enters and changes nothing of a process that is not the one meant, nor any of the host’s', async () => {
    const output = await open(join(folder, 'created'), 'w');
    const pid = create('one', await bundle('one'), output.fd);
    await output.close();
    const meant = argumentsFor(pid);
    const [, , ticks = ''] = meant;
    const refusals: [string, readonly string[], RegExp][] = [
      [
        'another one with its number',
        meant.with(2, String(Number(ticks) + 1)),
        /is not the node's: the node's has ended/,
      ],
    ];
    const others = [
      ['the host’s user namespace', ['--ipc', '--mount'], /is in the user namespace of the host/],
      ['namespaces of the host', ['--user', '--map-root-user'], /has namespaces of others/],
      ['a mount namespace of the host', ['--user', '--ipc'], /has namespaces of others/],
    ] as const;
    const sleepers = others.map(([what, namespaces, words]) => {
      const sleeper = spawn('unshare', [...namespaces, 'sh', '-c', 'echo; exec sleep 600'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return { what, words, sleeper };
    });
    const limits = (): string[] =>
      sleepers.map(({ sleeper }) => {
        const enter = ['--ipc', `--target=${sleeper.pid ?? 0}`, 'cat', '/proc/sys/kernel/shmall'];
        return spawnSync('nsenter', enter, { encoding: 'utf8' }).stdout;
      });
    try {
      for (const { what, words, sleeper } of sleepers) {
        await once(sleeper.stdout, 'data');
        refusals.push([what, argumentsFor(sleeper.pid ?? 0), words]);
      }
      const before = limits();
      for (const [what, args, words] of refusals) {
        const { status, stderr } = spawnSync(STAGE, args, { encoding: 'utf8' });
        expect(status, what).to.equal(76);
        expect(stderr, what).to.match(words);
      }
      expect(limits(), 'of shared memory').to.deep.equal(before);
      expect(existsSync(`/sys/block/loop${LOOP_DEVICE}`)).to.equal(false);
    } finally {
      for (const { sleeper } of sleepers) sleeper.kill('SIGKILL');
    }
    expect(spawnSync(STAGE, meant).status).to.equal(0);
  });

  /** The processes that a process has started and that live. */
  const childrenOf = (pid: number): number[] =>
    readdirSync('/proc')
      .map(Number)
      .filter((other) => other > 0 && Number(/^PPid:\t(\d+)/m.exec(statusOf(other))?.[1]) === pid);
  const commandOf = (pid: number): string => /^Name:\t(.*)/.exec(statusOf(pid))?.[1] ?? '';
  const isGone = (pid: number): boolean => identify(pid) === undefined;

  const WAYS = [
    ['e2fsck', 'the stage'],
    ['e2fsck', 'its parent'],
    ['the node’s side', 'the stage'],
    ['the node’s side', 'its parent'],
  ] as const;
  for (const [child, killed] of WAYS) {
    it(`has ${child} end with it when ${killed} is killed, and lets go of the volume`, async () => {
      const checker = join(folder, 'e2fsck');
      await writeFile(checker, '#!/bin/sh\nexec sleep 600\n', { mode: 0o755 });
      if (child === 'e2fsck') {
        expect(spawnSync('debugfs', ['-w', '-R', 'feature needs_recovery', volumes.pathOf(nodeId)]).status).to.equal(0);
      } else {
        // Nobody writes to it: whoever sets the names of the node waits.
        await mkdir(join(folder, 'config', 'etc'));
        expect(spawnSync('mkfifo', [join(folder, 'config', 'etc', 'hosts')]).status).to.equal(0);
      }
      const output = await open(join(folder, 'created'), 'w');
      const pid = create('one', await bundle('one'), output.fd);
      await output.close();
      const args = stageWith(child === 'e2fsck' ? checker : undefined, argumentsFor(pid).with(0, 'PARENT'));
      const held = args.map((arg) => (arg === 'PARENT' ? '$$' : `'${arg.replaceAll("'", "'\\''")}'`)).join(' ');
      const starter = spawn('sh', ['-c', `${held} & wait`], { stdio: 'ignore' });
      const [stagePid = 0] = await eventually(
        () => childrenOf(starter.pid ?? 0),
        ([first]) =>
          first !== undefined &&
          childrenOf(first).some((below) => commandOf(below) === (child === 'e2fsck' ? 'sleep' : 'node-stage')),
      );
      const [below = 0] = childrenOf(stagePid);
      try {
        process.kill(killed === 'the stage' ? stagePid : (starter.pid ?? 0), 'SIGKILL');
        await eventually(
          () => [stagePid, below].map(isGone),
          (gone) => gone.every(Boolean),
          30_000,
        );
      } finally {
        for (const left of [stagePid, below]) if (!isGone(left)) process.kill(left, 'SIGKILL');
      }
      runc('delete', '--force', containerName('one'));
      await eventually(isAttached, (attached) => !attached);
    });
  }

  it('does nothing for a parent that has ended before', async () => {
    const output = await open(join(folder, 'created'), 'w');
    const pid = create('one', await bundle('one'), output.fd);
    await output.close();
    const { status, stderr } = spawnSync(STAGE, argumentsFor(pid).with(0, String(process.ppid)), { encoding: 'utf8' });
    expect({ status, stderr }).to.deep.equal({
      status: 76,
      stderr: 'first-stage: the process that started this has ended\n',
    });
    expect(existsSync(`/sys/block/loop${LOOP_DEVICE}`)).to.equal(false);
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
    await released();
    expect(isAttached()).to.equal(false);
  });

  it('tries for doctor whether a file system lets owners be mapped, and leaves nothing', () => {
    const mounts = readFileSync('/proc/self/mounts', 'utf8');
    const tried = (place: string): { status: number | null; stderr: string } => {
      const { status, stderr } = spawnSync(STAGE, ['try-owners', place], { encoding: 'utf8' });
      return { status, stderr };
    };
    expect(tried(folder)).to.deep.equal({ status: 0, stderr: '' });
    expect(tried('/proc')).to.deep.equal({
      status: 75,
      stderr: 'first-stage: said: Invalid argument\nfirst-stage: the owners of /proc cannot be mapped\n',
    });
    expect(tried(join(folder, 'missing')).status).to.equal(75);
    expect(readFileSync('/proc/self/mounts', 'utf8')).to.equal(mounts);
  });
});
