/** What bounds a node is the kernel: the limits are there, they hold, and what they do is told truthfully. */
import { existsSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { MIB } from '../../../shared/limits.js';
import { eventually, type Guest } from './guest.js';
import { NODE } from './node-checks.js';

export async function bound(guest: Guest): Promise<void> {
  const node = await guest.inspect('a');
  expect(guest.cgroup(node, 'memory.max')).to.equal(String(NODE.memoryMb * MIB));
  expect(guest.cgroup(node, 'memory.swap.max')).to.equal('0');
  expect(guest.cgroup(node, 'pids.max')).to.equal(String(NODE.pids));
  expect(guest.cgroup(node, 'cpu.weight')).to.equal(String(NODE.cpuWeight));
  // Processes are in children alone: only then can those have controllers of their own.
  expect(guest.cgroup(node, 'cgroup.procs')).to.equal('');
  expect(guest.cgroup(node, 'agent', 'cgroup.procs').split('\n')).to.include(String(node.pid));
}

export async function bounded(guest: Guest): Promise<void> {
  const { stdout } = await guest.exec('a', 'sh', '-c', 'cat /proc/self/cgroup; cat /sys/fs/cgroup/memory.max');
  const [own = '', limit] = stdout.split('\n');
  expect(own).to.match(/^0::\/commands\/exec-/);
  expect(limit).to.equal(String(NODE.memoryMb * MIB));
  const { code } = await guest.exec('a', 'sh', '-c', 'echo max > /sys/fs/cgroup/memory.max');
  expect(code, 'a node cannot lift its own limit').not.to.equal(0);
}

const GREEDY = 'b = bytearray(400 * 1024 * 1024); print(len(b))';

export async function killCommand(guest: Guest): Promise<void> {
  const before = await guest.inspect('a');
  const { code, stderr } = await guest.exec('a', 'python3', '-c', GREEDY);
  expect(code, stderr).to.equal(137);
  expect(guest.cgroup(before, 'memory.events')).to.match(/^oom_kill [1-9]/m);
  expect(await guest.inspect('a')).to.include({ status: 'Running', pid: before.pid });
}

/** What fork() answers at a limit. */
const EAGAIN = 11;
const FORK_BOMB = `
import os, signal, time
children = []
try:
  while len(children) < 5000:
    child = os.fork()
    if child == 0:
      time.sleep(600)
      os._exit(0)
    children.append(child)
except OSError as error:
  print(len(children), error.errno)
for child in children:
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
`;

export async function cutOffProcesses(guest: Guest): Promise<void> {
  const { stdout, stderr } = await guest.exec('a', 'python3', '-c', FORK_BOMB);
  const [forks, errno] = stdout.trim().split(' ').map(Number);
  expect(errno, stderr).to.equal(EAGAIN);
  expect(forks)
    .to.be.greaterThan(NODE.pids / 2)
    .and.lessThan(NODE.pids);
}

export async function resize(guest: Guest): Promise<void> {
  await guest.ok('node', 'resize', 'a', '--mem', '320', '--cpu', '700', '--pids', '130');
  const node = await guest.inspect('a');
  expect(guest.cgroup(node, 'memory.max')).to.equal(String(320 * MIB));
  expect(guest.cgroup(node, 'cpu.weight')).to.equal('700');
  expect(guest.cgroup(node, 'pids.max')).to.equal('130');
}

/** Below what an agent needs: only the kernel can do this to it. */
const STARVING_BYTES = 8 * MIB;

export async function endForWantOfMemory(guest: Guest): Promise<void> {
  // One that is killed by hand after a command was killed for want of memory: the command's end is not its own.
  expect((await guest.exec('a', 'python3', '-c', GREEDY)).code).to.equal(137);
  const first = await guest.inspect('a');
  const [agent] = guest
    .cgroup(first, 'agent', 'cgroup.procs')
    .split('\n')
    .map(Number)
    .filter((pid) => pid !== first.pid);
  process.kill(agent ?? 0, 'SIGKILL');
  expect((await failed(guest, 'a')).status_reason).to.contain('ended by a signal');

  const second = await guest.inspect('b');
  writeFileSync(guest.cgroupPath(second, 'memory.max'), String(STARVING_BYTES));
  expect((await failed(guest, 'b')).status_reason).to.contain('out of memory');
  expect(existsSync(guest.cgroupPath(second)), 'what a failed node held is given back').to.equal(false);
  for (const name of ['a', 'b']) await guest.ok('node', 'start', name);
}

const failed = (guest: Guest, name: string): ReturnType<Guest['inspect']> =>
  eventually(
    () => guest.inspect(name),
    ({ status }) => status === 'Failed',
    120_000,
  );
