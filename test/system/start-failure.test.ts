/** A first start that fails leaves the host as it was; one on an instance with data leaves the data. */
import { createAccount } from '@nats-io/nkeys';
import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { assertWorksWith } from '../../shared/config/runtimes.js';
import type { NexusError } from '../../shared/errors.js';
import { eventually, PROJECT, TestCluster } from '../support/cluster.js';
import { residueOf } from '../support/residue.js';
import { SmallDisk } from '../support/small-disk.js';
import { skipWithout, whySkipped } from '../support/system.js';

const PAGE_BYTES = 4096;

describe('a start that fails', function () {
  this.timeout(180_000);
  let taken: Server;
  let port: number;
  before(async function () {
    skipWithout(this, whySkipped());
    taken = createServer().listen(0, '0.0.0.0');
    await once(taken, 'listening');
    ({ port } = taken.address() as AddressInfo);
  });
  after(() => {
    taken.close();
  });
  const onTakenPort = (): TestCluster => new TestCluster({ env: { NEXUS_NATS_PORT: String(port) } });

  it('takes back bridge, folders and socket when the port of the bus is taken', async () => {
    const cluster = onTakenPort();
    const { code, stderr } = await cluster.run('up');
    expect(code, stderr).to.not.equal(0);
    expect(stderr).to.match(/^nexus: [^\n]+\n$/);
    rmSync(cluster.folder, { recursive: true });
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('makes nothing for a runtime that refuses this host, and says which one to take', async function () {
    const isUnified = existsSync('/sys/fs/cgroup/cgroup.controllers');
    skipWithout(this, isUnified ? 'this host has cgroups v2 alone, on which crun works' : undefined);
    const cluster = new TestCluster();
    let refusal = '';
    try {
      assertWorksWith('v1', 'crun');
    } catch (error) {
      refusal = inCommandWords(error as NexusError);
    }
    const { code, stderr } = await cluster.run('up', '--runtime', 'crun');
    expect(code, stderr).to.equal(4);
    expect(stderr).to.equal(`nexus: ${refusal}\n`);
    const json = await cluster.run('up', '--runtime', 'crun', '-o', 'json');
    expect(JSON.parse(json.stderr)).to.include({ error: refusal, code: 'failed_precondition' });
    expect(existsSync(join(cluster.stateDir, 'choices.json')), 'remembered').to.equal(false);
    rmSync(cluster.stateDir, { recursive: true, force: true });
    rmSync(cluster.folder, { recursive: true });
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('takes back bridge, folders and socket when the external bus cannot be reached', async () => {
    const cluster = new TestCluster({
      env: { NEXUS_NATS_URL: 'nats://127.0.0.1:1', NEXUS_NATS_ACCOUNT_SEED_FILE: '/nonexistent/account.seed' },
    });
    const { code, stderr } = await cluster.run('up');
    expect(code, stderr).to.equal(2);
    expect(stderr).to.match(/nats-account-seed-file: \/nonexistent\/account.seed: there is no such file/);
    rmSync(cluster.folder, { recursive: true });
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  describe('because it waits for what never comes', () => {
    let mute: Server;
    let folder: string;
    let env: Record<string, string>;
    before(async () => {
      // A bus that takes connections and says nothing: the start, which has made its bridge by then, can't go on.
      mute = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
      await once(mute, 'listening');
      folder = mkdtempSync(join(tmpdir(), 'nexus-mute-'));
      const seed = join(folder, 'account.seed');
      writeFileSync(seed, createAccount().getSeed());
      env = {
        NEXUS_NATS_URL: `nats://127.0.0.1:${(mute.address() as AddressInfo).port}`,
        NEXUS_NATS_ACCOUNT_SEED_FILE: seed,
        NEXUS_NATS_CONNECT_TIMEOUT_MS: '120000',
      };
    });
    after(() => {
      mute.close();
      rmSync(folder, { recursive: true });
    });

    const bridgeOf = (cluster: TestCluster): boolean => existsSync(`/sys/class/net/nx-${cluster.instance}`);
    const leavesNothing = (cluster: TestCluster): void => {
      rmSync(cluster.folder, { recursive: true });
      expect(residueOf(cluster.instance)).to.deep.equal([]);
    };

    it('takes back bridge, folders and socket when that takes too long, and says so when that is done', async () => {
      const cluster = new TestCluster({ env: { ...env, NEXUS_START_TIMEOUT_MS: '15000' } });
      const { code, stderr } = await cluster.run('up');
      expect(code, stderr).to.equal(5);
      expect(stderr).to.match(/the controller is not up after 15 s \(start-timeout-ms\); see .*controller.log\n$/);
      expect(readdirSync(cluster.stateDir)).to.deep.equal(['controller.log']);
      rmSync(cluster.stateDir, { recursive: true });
      leavesNothing(cluster);
    });

    it('takes them back when it is asked to end meanwhile', async () => {
      const cluster = new TestCluster({ env });
      const controller = spawn(process.execPath, [join(PROJECT, 'dist', 'controller', 'main.js')], {
        env: cluster.env,
        stdio: 'ignore',
      });
      const ended = once(controller, 'exit');
      await eventually(
        () => bridgeOf(cluster),
        (isThere) => isThere,
      );
      controller.kill('SIGTERM');
      expect(await ended).to.deep.equal([0, null]);
      leavesNothing(cluster);
    });

    it('takes them back when the command that started it is interrupted', async () => {
      const cluster = new TestCluster({ env });
      const up = spawn(process.execPath, [join(PROJECT, 'dist', 'cli', 'main.js'), 'up'], {
        env: cluster.env,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const ended = Promise.all([once(up, 'exit') as Promise<[number]>, text(up.stderr)]);
      await eventually(
        () => bridgeOf(cluster),
        (isThere) => isThere,
      );
      up.kill('SIGINT');
      const [[code], stderr] = await ended;
      expect(code, stderr).to.equal(130);
      expect(stderr).to.equal('nexus: interrupted; the controller was stopped\n');
      leavesNothing(cluster);
    });
  });

  it('leaves a state folder that had something in it as it was', async () => {
    const cluster = onTakenPort();
    mkdirSync(cluster.stateDir);
    writeFileSync(`${cluster.stateDir}/note`, 'mine');
    try {
      expect((await cluster.run('up')).code).to.not.equal(0);
      expect(readFileSync(`${cluster.stateDir}/note`, 'utf8')).to.equal('mine');
      expect(existsSync(`/sys/class/net/nx-${cluster.instance}`)).to.equal(false);
    } finally {
      rmSync(cluster.folder, { recursive: true });
      rmSync(cluster.stateDir, { recursive: true });
    }
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('does not come from a log that takes nothing', async () => {
    const cluster = new TestCluster({ runtime: 'process' });
    const full = openSync('/dev/full', 'w');
    const controller = spawn(process.execPath, [join(PROJECT, 'dist', 'controller', 'main.js')], {
      env: { ...cluster.env, NEXUS_LOG_LEVEL: 'debug' },
      stdio: ['ignore', full, full],
    });
    closeSync(full);
    const ended = once(controller, 'exit');
    const { warnings } = await eventually(
      async () => {
        const { code, stdout } = await cluster.run('status', '--output', 'json');
        return code === 0 ? (JSON.parse(stdout) as { warnings: string[] }) : { warnings: [] };
      },
      (status) => status.warnings.length > 0,
    );
    expect(warnings.join('\n')).to.match(/controller's log cannot be written \(ENOSPC\), \d+ line\(s\) are missing/);
    await cluster.ok('node', 'create', 'a', '--storage', '64M');
    await cluster.ok('down', '--purge');
    await ended;
    rmSync(cluster.folder, { recursive: true });
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('does not come from a full disk, on which a cluster is also purged', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-full-'));
    const disk = new SmallDisk(join(folder, 'disk'), 300);
    const stateDir = join(disk.path, 'state');
    const cluster = new TestCluster({ runtime: 'process', env: { NEXUS_STATE_DIR: stateDir } });
    try {
      await cluster.ok('up');
      await cluster.ok('node', 'create', 'a', '--storage', '64M');
      const log = join(stateDir, 'controller.log');
      const killed = async (): Promise<void> => {
        const { pid } = (await cluster.json<{ controller: { pid: number } }>('status')).controller;
        // Not one line more has room in it.
        appendFileSync(log, '\n'.repeat(PAGE_BYTES - (statSync(log).size % PAGE_BYTES)));
        disk.fill();
        process.kill(pid, 'SIGKILL');
        await eventually(
          () => existsSync(`/proc/${pid}/exe`),
          (isThere) => !isThere,
        );
      };
      await killed();
      await cluster.ok('up');
      expect(await cluster.json<object[]>('node', 'ls')).to.have.length(1);
      disk.free();
      await killed();
      await cluster.ok('down', '--purge');
    } finally {
      disk.free();
      await cluster.run('down', '--purge');
      disk.remove();
      rmSync(folder, { recursive: true });
      rmSync(cluster.folder, { recursive: true });
    }
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('is told as what it is on a disk that was filled after a clean end, however often it is tried', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-full-'));
    const disk = new SmallDisk(join(folder, 'disk'), 64);
    const stateDir = join(disk.path, 'state');
    const cluster = new TestCluster({ runtime: 'process', env: { NEXUS_STATE_DIR: stateDir } });
    try {
      await cluster.ok('up');
      await cluster.ok('down');
      disk.fill();
      for (let attempt = 0; attempt < 4; attempt++) {
        const { code, stderr } = await cluster.run('up');
        expect(stderr)
          .to.match(/^nexus: .*the disk .*is full.*\n$/)
          .and.not.include('{"');
        expect(code, stderr).to.equal(4);
      }
      disk.free();
      await cluster.ok('up');
    } finally {
      disk.free();
      await cluster.run('down', '--purge');
      disk.remove();
      rmSync(folder, { recursive: true });
      rmSync(cluster.folder, { recursive: true });
    }
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('for a wrong setting is one line of the log, without a stack', async () => {
    for (const program of ['controller', 'gateway']) {
      const child = spawn(process.execPath, [join(PROJECT, 'dist', program, 'main.js')], {
        env: { PATH: process.env['PATH'], NEXUS_CONFIG: '/nonexistent/nexus.yaml' },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const ended = once(child, 'exit') as Promise<[number]>;
      const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
      expect([code, stderr], program).to.deep.equal([1, '']);
      expect(stdout.trim().split('\n'), program).to.have.length(1);
      expect(JSON.parse(stdout), program).to.deep.include({ level: 60, code: 'invalid_argument' });
    }
  });

  it('does not come from a runtime that is not said again, and comes from another one that is said', async () => {
    const cluster = new TestCluster({ env: {} });
    const { NEXUS_RUNTIME: _chosen, ...plain } = cluster.env;
    let env: NodeJS.ProcessEnv = plain;
    const nexus = async (...words: string[]): Promise<{ code: number; stderr: string; stdout: string }> => {
      const args = [join(PROJECT, 'dist', 'cli', 'main.js'), ...words];
      const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
      const ended = once(child, 'exit') as Promise<[number]>;
      const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
      return { code, stdout, stderr };
    };
    const ok = async (...words: string[]): Promise<string> => {
      const { code, stdout, stderr } = await nexus(...words);
      expect(code, `${words.join(' ')}: ${stderr}`).to.equal(0);
      return stdout;
    };
    await ok('up', '--runtime', 'process');
    await ok('node', 'create', 'kept', '--storage', '64M');
    await ok('down');
    const refused = await nexus('up', '--runtime', 'runc');
    expect(refused.code).to.equal(4);
    expect(refused.stderr).to.include('were made with the runtime process, and runc was asked for');
    env = { ...plain, NEXUS_SUBNET: '127.9.9.0/24' };
    const elsewhere = await nexus('up');
    expect(elsewhere.code).to.equal(4);
    expect(elsewhere.stderr).to.match(/were made with subnet 127\.\d+\.\d+\.0\/24, and 127\.9\.9\.0\/24 was asked for/);
    // Stopped nodes take over settings that nodes get at their start.
    env = { ...plain, NEXUS_NATS_PORT: '4333', NEXUS_DATA_PORT: '7500' };
    await ok('up');
    expect(JSON.parse(await ok('node', 'inspect', 'kept', '-o', 'json'))).to.include({ status: 'Running' });
    expect(await ok('node', 'exec', 'kept', '--', 'echo', 'alive')).to.equal('alive\n');
    await ok('down');
    env = plain;
    await ok('up');
    expect(JSON.parse(await ok('status', '-o', 'json'))).to.include({ runtime: 'process' });
    expect(JSON.parse(await ok('node', 'inspect', 'kept', '-o', 'json'))).to.include({ status: 'Running' });
    await ok('down', '--purge');
    rmSync(cluster.folder, { recursive: true });
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('leaves the bridge to nodes that are there', async () => {
    const cluster = await TestCluster.start();
    await cluster.ok('node', 'create', 'stays', '--storage', '64M');
    await cluster.killController();
    const refused = await cluster.tryController({ NEXUS_NATS_URL: 'nats://127.0.0.1:1' });
    expect(refused.code).to.equal(1);
    expect(refused.output).to.include(
      'a node of this cluster runs with nats-url (its own server), and nats://127.0.0.1:1',
    );
    const failing = await cluster.tryController({ NEXUS_SOCKET: '/dev/null/in-a-file.sock' });
    expect(failing.code).to.equal(1);
    expect(failing.output).not.to.include('was asked for');
    expect(existsSync(`/sys/class/net/nx-${cluster.instance}`)).to.equal(true);
    await cluster.startController();
    expect(await cluster.ok('node', 'exec', 'stays', '--', 'echo', 'alive')).to.equal('alive\n');
    expect(await cluster.dispose()).to.deep.equal([]);
  });
});
