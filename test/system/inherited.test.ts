/**
 * What a cluster inherits from the shell that starts it does not matter: the launcher as a person calls it, under every
 * peculiarity at once, and alone where it is refused.
 */
import { expect } from 'chai';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { eventually, PROJECT, TestCluster, type CliResult } from '../support/cluster.js';
import { residueOf } from '../support/residue.js';
import { skipWithoutSystem } from '../support/system.js';

const LAUNCHER = join(PROJECT, 'nexus');

/** Paths of a process's open files; one may be closed between two looks. */
const openFiles = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${name}`)];
    } catch {
      return [];
    }
  });

describe('what a cluster inherits', function () {
  this.timeout(300_000);
  const cluster = new TestCluster({ gateway: true });
  let isRun = false;
  before(function () {
    skipWithoutSystem(this);
    isRun = true;
  });

  /** `command` in a shell of its own, with nothing but this cluster's name in the environment. */
  const shell = (command: string, env: NodeJS.ProcessEnv = {}): CliResult => {
    const { NEXUS_INSTANCE, NEXUS_GATEWAY } = cluster.env;
    const { status, stdout, stderr } = spawnSync('/bin/bash', ['-c', command], {
      env: { NEXUS_INSTANCE, NEXUS_GATEWAY, PATH: process.env['PATH'], ...env },
      encoding: 'utf8',
      timeout: 200_000,
    });
    return { code: status ?? 1, stdout, stderr };
  };

  it('is refused, with what to do, where the limit of open files is too low and the kernel lets nobody raise it', () => {
    // Without CAP_SYS_RESOURCE, which nobody under the launcher can have then.
    const { code, stderr } = shell(`ulimit -n 64; setpriv --bounding-set=-sys_resource ${LAUNCHER} up`);
    expect(code).to.equal(4);
    expect(stderr).to.match(/nexus: the limit of open files is 64 and can't be raised .*: ulimit -n 1024\n$/);
    expect(residueOf(cluster.instance)).to.deep.equal([]);
  });

  it('up --demo works under umask 777, without PATH, standard streams, signals, nor a working folder', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-inherited-'));
    const trap = join(folder, 'trap.sh');
    writeFileSync(trap, `touch ${folder}/ran\n`);
    // Where Node is installed is this machine's affair; everything else has to be found without PATH.
    const node = dirname(process.execPath);
    const path = ['/usr/local/bin', '/usr/bin'].includes(node) ? '' : node;
    const hostile = {
      PATH: path,
      LD_LIBRARY_PATH: folder,
      NODE_OPTIONS: '--inspect=127.0.0.1:0',
      BASH_ENV: trap,
      ENV: trap,
      TAR_OPTIONS: '--nonexistent',
      TMPDIR: '/nonexistent',
      LC_ALL: 'nonexistent',
      NOTIFY_SOCKET: '/nonexistent',
    };
    const command = [
      'readlink() { echo /nonexistent; }; tar() { false; }; export -f readlink tar',
      'umask 777',
      'ulimit -Sn 64',
      'trap "" PIPE HUP INT TERM USR1',
      `exec 40>${folder}/held 251>${folder}/held`,
      `/bin/mkdir ${folder}/gone`,
      `cd ${folder}/gone`,
      `/bin/rmdir ${folder}/gone`,
      `${LAUNCHER} up --demo <&- >&- 2>&-`,
    ];
    // Exported in there: the shell that runs this would follow some of them itself.
    const exports = Object.entries(hostile).map(([name, value]) => `export ${name}='${value}'`);
    const started = shell([...exports, ...command].join('\n'));
    expect(started.code, readFileSync(join(cluster.stateDir, 'controller.log'), 'utf8').slice(-2000)).to.equal(0);
    const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
    expect([mode(cluster.stateDir), mode(join(cluster.stateDir, 'controller.log'))]).to.deep.equal(['700', '600']);
    const status = await cluster.json<{ controller: { pid: number }; nodes: { running: number } }>('status');
    expect(status.nodes.running).to.equal(3);
    const { pid } = status.controller;
    const own = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(own)
      .to.match(/^Umask:\s*0022$/m)
      .and.match(/^SigBlk:\s*0+$/m);
    expect(readlinkSync(`/proc/${pid}/cwd`)).to.equal('/');
    expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).to.not.match(/Max open files\s+64 /);
    expect(openFiles(pid)).to.include('/dev/null').and.not.include(join(folder, 'held'));
    expect(readdirSync(folder)).to.not.include('ran');
    expect(statSync(join(cluster.stateDir, 'images', 'base', 'rootfs')).mode & 0o777).to.equal(0o755);
    expect(
      await cluster.ok('node', 'exec', 'demo-1', '--', 'sh', '-c', 'umask; cat /proc/self/oom_score_adj'),
    ).to.match(/^0022\n500\n$/);
    rmSync(folder, { recursive: true });
  });

  it('opens no debugger on SIGUSR1: controller, gateway, agent and command line', async () => {
    const status = await cluster.json<{ controller: { pid: number }; gateway: { pid: number } }>('status');
    const [node] = await cluster.json<{ pid: number }[]>('node', 'ls');
    const cli = spawn(LAUNCHER, ['events', '-f'], { env: cluster.env, stdio: ['ignore', 'pipe', 'pipe'] });
    await once(cli.stdout, 'data');
    let said = '';
    cli.stderr.on('data', (data: Buffer) => (said += data.toString()));
    const agent = Number(hostPid(node?.pid ?? 0));
    for (const pid of [status.controller.pid, status.gateway.pid, agent, cli.pid ?? 0]) {
      process.kill(pid, 'SIGUSR1');
      // Node's debugger starts a thread of that name before it listens.
      const threads = readdirSync(`/proc/${pid}/task`).map((task) =>
        readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8'),
      );
      expect(threads.join(), String(pid)).to.not.match(/inspector/i);
      expect(spawnSync('ss', ['-ltnpH'], { encoding: 'utf8' }).stdout).to.not.match(new RegExp(`:9229 .*pid=${pid},`));
    }
    expect((await cluster.json<{ nodes: { running: number } }>('status')).nodes.running).to.equal(3);
    cli.kill('SIGINT');
    expect((await once(cli, 'exit'))[0]).to.equal(130);
    expect(said).to.not.match(/[Dd]ebugger|inspector/);
  });

  it('a command under nohup outlives SIGHUP, and one with 2 closed keeps its output and exit code', async () => {
    const held = spawn('nohup', [LAUNCHER, 'events', '-f'], { env: cluster.env, stdio: ['ignore', 'pipe', 'ignore'] });
    await once(held.stdout, 'data');
    held.kill('SIGHUP');
    await cluster.ok('status');
    expect(held.signalCode).to.equal(null);
    expect(held.exitCode).to.equal(null);
    held.kill('SIGTERM');
    expect((await once(held, 'exit'))[0]).to.equal(143);
    expect(shell(`${LAUNCHER} node exec demo-1 -- sh -c 'echo out; echo err >&2; exit 7' 2>&-`)).to.include({
      code: 7,
      stdout: 'out\n',
    });
    expect(shell(`echo 'print(6*7)' | ${LAUNCHER} lambda run - 2>&-`)).to.include({ code: 0, stdout: '42\n' });
  });

  after(async () => {
    rmSync(cluster.folder, { recursive: true, force: true });
    if (!isRun) return;
    expect(shell(`${LAUNCHER} down --purge`).code).to.equal(0);
    await eventually(
      () => residueOf(cluster.instance),
      (left) => left.length === 0,
    );
  });
});

/** The agent is the child of the node's first process. */
const hostPid = (init: number): string =>
  readFileSync(`/proc/${init}/task/${init}/children`, 'utf8').trim().split(' ')[0] ?? '';
