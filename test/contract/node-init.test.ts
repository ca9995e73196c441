/** The contract of the first process of a node, see node-init.c. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../support/cluster.js';
import { skipWithoutSystem } from '../support/system.js';

const INIT = resolve('dist/node-init');

const end = (...command: string[]) => {
  const { status, stderr } = spawnSync(INIT, command, { encoding: 'utf8' });
  return { status, last: stderr.trim().split('\n').at(-1) };
};

const statusOf = (pid: number | string): string => {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
};
const childrenOf = (pid: number): string[] =>
  readdirSync('/proc').filter((name) => /^\d+$/.test(name) && statusOf(name).includes(`\nPPid:\t${pid}\n`));
const switchesOf = (pid: number): number => Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(statusOf(pid))?.[1]);

describe('the first process of a node', function () {
  let running: ChildProcess | undefined;

  before(function () {
    skipWithoutSystem(this);
  });
  afterEach(() => {
    running?.kill('SIGKILL');
  });

  /** As process 1 of a namespace of its own, as in a node. */
  const start = (script: string): ChildProcess & { stdout: NonNullable<ChildProcess['stdout']> } => {
    const command = ['--pid', '--fork', '--kill-child', '--mount-proc', INIT, '/bin/sh', '-c', script];
    const child = spawn('unshare', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    running = child;
    return child;
  };
  const initOf = async (child: ChildProcess): Promise<number> => {
    const [pid] = await eventually(
      () => childrenOf(child.pid ?? 0).filter((found) => statusOf(found).startsWith('Name:\tnode-init')),
      (found) => found.length === 1,
    );
    return Number(pid);
  };

  it('ends as the program does, and says how', () => {
    expect(end('/bin/sh', '-c', 'exit 0')).to.deep.equal({
      status: 0,
      last: 'node-init: the program ended with exit status 0',
    });
    expect(end('/bin/sh', '-c', 'exit 7').status).to.equal(7);
    expect(end('/bin/sh', '-c', 'kill -9 $$')).to.deep.equal({
      status: 137,
      last: 'node-init: the program was ended by signal 9 (Killed)',
    });
    const { stderr } = spawnSync(INIT, ['/absent'], { encoding: 'utf8' });
    expect(stderr).to.match(/^node-init: \/absent cannot be run: No such file or directory\n/);
    expect(end('/absent').status).to.equal(126);
    expect(end().status).to.equal(64);
  });

  it('hands signals on, to a program that has the signals it was started with', async () => {
    const child = start(
      'trap "echo term; exit 3" TERM; trap "echo hup" HUP; grep ^SigBlk /proc/self/status; while :; do sleep 0.05; done',
    );
    let said = '';
    child.stdout.on('data', (data: Buffer) => (said += data.toString()));
    const closed = once(child, 'close');
    const pid = await initOf(child);
    await eventually(
      () => said,
      (text) => text.includes('SigBlk'),
    );
    process.kill(pid, 'SIGHUP');
    await eventually(
      () => said,
      (text) => text.includes('hup'),
    );
    process.kill(pid, 'SIGTERM');
    const [status] = (await closed) as [number];
    expect(status).to.equal(3);
    expect(said.split('\n')).to.deep.equal(['SigBlk:\t0000000000000000', 'hup', 'term', '']);
  });

  it('reaps what others have left, and nothing but a signal wakes it', async () => {
    const child = start('for each in 1 2 3 4 5; do (sleep 0.2 &) ; done; sleep 1; echo slept; exec sleep 60');
    const slept = once(child.stdout, 'data');
    const pid = await initOf(child);
    await slept;
    const left = await eventually(
      () => childrenOf(pid),
      (found) => found.length === 1,
    );
    expect(left.filter((found) => statusOf(found).includes('State:\tZ'))).to.deep.equal([]);
    const before = switchesOf(pid);
    await new Promise((resolved) => setTimeout(resolved, 2500));
    expect(switchesOf(pid)).to.equal(before);
  });

  it('does not wait for ever where its children would end unseen', () => {
    const script = `signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv('${INIT}', ['node-init', '/bin/true'])`;
    const { status } = spawnSync('python3', ['-c', `import os, signal; ${script}`], { timeout: 60_000 });
    expect(status).to.equal(0);
  });
});
