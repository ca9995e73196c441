/** Nodes: made, stopped, removed. */
import { existsSync } from 'node:fs';
import { expect } from 'chai';
import type { Guest, NodeJson } from './guest.js';

export const NODE = { memoryMb: 256, cpuWeight: 512, pids: 128 } as const;

export async function createNodes(guest: Guest): Promise<void> {
  const { memoryMb, cpuWeight, pids } = NODE;
  const limits = ['--mem', String(memoryMb), '--cpu', String(cpuWeight), '--pids', String(pids)];
  for (const name of ['a', 'b']) await guest.ok('node', 'create', name, ...limits, '--storage', '128M');
  const nodes = await guest.json<NodeJson[]>('node', 'ls');
  expect(nodes.map(({ status }) => status)).to.deep.equal(['Running', 'Running']);
}

/** By a copy of busybox, which has `su`; whoever has no password is let in. */
export async function becomeRoot(guest: Guest): Promise<void> {
  const prepared = [
    'cp /bin/busybox /usr/local/bin/su && chmod 4755 /usr/local/bin/su',
    'sed -i "s/^root:[^:]*:/root::/" /etc/passwd',
    'mkdir -p /data/own && cp /usr/local/bin/su /data/own && chmod 4755 /data/own/su',
  ];
  expect((await guest.exec('a', 'sh', '-ec', prepared.join('\n'))).code).to.equal(0);
  const look = 'id -u; grep -E "^(Cap|Seccomp)" /proc/self/status';
  const ofRoot = await guest.exec('a', 'sh', '-c', look);
  const asUser = (...command: string[]): ReturnType<Guest['run']> =>
    guest.run('node', 'exec', '-u', '1000', 'a', '--', ...command);
  expect(await asUser('su', '-c', look)).to.deep.equal(ofRoot);
  expect(ofRoot.stdout)
    .to.match(/^0\n/)
    .and.match(/^CapBnd:\t00000000000004fb$/m)
    .and.match(/^Seccomp:\t2$/m);
  expect((await asUser('su', '-c', 'unshare -U true || mount -t tmpfs none /mnt')).code).not.to.equal(0);
  expect((await asUser('/data/own/su', '-c', 'id -u')).code, 'from the volume').not.to.equal(0);
}

export async function keepData(guest: Guest): Promise<void> {
  expect((await guest.exec('a', 'sh', '-c', 'echo kept > /root/note && sync')).code).to.equal(0);
  await guest.ok('node', 'stop', 'a');
  const stopped = await guest.inspect('a');
  expect(stopped.status).to.equal('Stopped');
  expect(existsSync(guest.cgroupPath(stopped)), 'a stopped node has no cgroup').to.equal(false);
  await guest.ok('node', 'start', 'a');
  expect((await guest.exec('a', 'cat', '/root/note')).stdout).to.equal('kept\n');
}

export async function removeNode(guest: Guest): Promise<void> {
  await guest.ok('node', 'create', 'brief', '--storage', '64M');
  const node = await guest.inspect('brief');
  await guest.exec('brief', 'true');
  expect(existsSync(guest.cgroupPath(node))).to.equal(true);
  await guest.ok('node', 'rm', 'brief');
  expect(existsSync(guest.cgroupPath(node))).to.equal(false);
}
