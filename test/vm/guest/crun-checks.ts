/** Nodes that crun makes, which refuses any host but one with cgroups v2 alone. Started by hand, as no unit is for it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { residueOf } from '../../support/residue.js';
import { MIB } from '../../../shared/limits.js';
import { compareWithSource, fetchWhatWasSent } from './file-checks.js';
import { eventually, type Guest, type NodeJson } from './guest.js';
import { createNodes, keepData } from './node-checks.js';

const execute = promisify(execFile);

/** By the launcher, which looks for the program. */
export async function startWithCrun(guest: Guest): Promise<void> {
  await execute('/usr/local/bin/nexus', ['up', '--runtime', 'crun']);
  await createNodes(guest);
  const { stdout } = await execute('crun', ['--root', '/run/nexus/crun.state', 'list', '--quiet']);
  const nodes = await guest.json<NodeJson[]>('node', 'ls');
  expect(stdout.trim().split('\n').sort()).to.deep.equal(nodes.map(({ id }) => id).sort());
}

export async function runCommands(guest: Guest): Promise<void> {
  const said = await guest.exec('a', 'sh', '-c', 'echo out; echo err >&2; exit 3');
  expect(said).to.deep.equal({ code: 3, stdout: 'out\n', stderr: 'err\n' });
  expect((await guest.exec('a', 'sh', '-c', 'kill -USR1 $$')).code, 'by a signal').to.equal(128 + 10);
  const absent = await guest.exec('a', 'no-such-program');
  const words = 'nexus: there is no program no-such-program in the node\n';
  expect(absent).to.deep.equal({ code: 127, stdout: '', stderr: words });
  const waits = guest.start([
    'node',
    'exec',
    'a',
    '--',
    'sh',
    '-c',
    'trap "exit 9" INT; echo up; while :; do sleep 0.2; done',
  ]);
  await eventually(waits.said, (text) => text.includes('up'), 120_000);
  waits.stop();
  expect((await waits.result).code, 'with the signal passed on').to.equal(9);
  await talkOverTerminal();
}

/** Through `script`, which gives the command a terminal: line ends, exit code, and what is said right before the end. */
async function talkOverTerminal(): Promise<void> {
  const command = `/usr/local/bin/nexus node exec -t a -- sh -c 'test -t 0 && echo terminal; exit 4'`;
  const code = await execute('script', ['--quiet', '--return', '--command', command, '/tmp/typescript']).then(
    () => 0,
    (failed: unknown) => (failed as { readonly code?: number }).code,
  );
  expect(readFileSync('/tmp/typescript', 'utf8')).to.contain('terminal\r\n');
  expect(code).to.equal(4);
}

export async function keepFilesAndRunCode(guest: Guest): Promise<void> {
  await fetchWhatWasSent(guest);
  await guest.ok('file', 'verify', guest.kept.get('file') ?? '');
  writeFileSync('/tmp/crun.py', 'print(6 * 7)');
  const { stdout, stderr } = await guest.run('lambda', 'run', '/tmp/crun.py', '--output', 'json');
  expect(JSON.parse(stdout), stderr).to.include({ stdout: '42\n', exit_code: 0 });
}

export async function changeLimits(guest: Guest): Promise<void> {
  await guest.ok('node', 'resize', 'a', '--mem', '300', '--cpu', '600', '--pids', '120');
  const node = await guest.inspect('a');
  expect(guest.cgroup(node, 'memory.max')).to.equal(String(300 * MIB));
  expect(guest.cgroup(node, 'cpu.weight')).to.equal('600');
  expect(guest.cgroup(node, 'pids.max')).to.equal('120');
}

/** By hand again: the runtime is that of the nodes. */
export async function adoptAfterKill(guest: Guest): Promise<void> {
  const before = await guest.json<NodeJson[]>('node', 'ls');
  const { controller } = await guest.json<{ controller: { pid: number } }>('status');
  process.kill(controller.pid, 'SIGKILL');
  await eventually(
    () => existsSync(`/proc/${controller.pid}`),
    (isThere) => !isThere,
    60_000,
  );
  await guest.ok('up');
  const after = await eventually(
    () => guest.json<NodeJson[]>('node', 'ls'),
    (nodes) => nodes.every(({ status, agent_started_at: at }) => status === 'Running' && at !== ''),
    120_000,
  );
  const identity = ({ id, pid, agent_started_at: at }: NodeJson): object => ({ id, pid, at });
  expect(after.map(identity)).to.deep.equal(before.map(identity));
  await compareWithSource(guest);
  await keepData(guest);
}

export async function purgeCrun(guest: Guest): Promise<void> {
  await guest.ok('down', '--purge');
  expect(residueOf(guest.instance)).to.deep.equal([]);
}
