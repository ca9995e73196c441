/** The host as the product finds it. */
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { Guest } from './guest.js';

export async function haveUnifiedCgroups(): Promise<void> {
  const types = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , type]) => type?.startsWith('cgroup') === true)
    .map(([, place, type]) => `${type} on ${place}`);
  expect(types).to.deep.equal(['cgroup2 on /sys/fs/cgroup']);
  const controllers = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ');
  expect(controllers).to.include.members(['cpu', 'memory', 'pids', 'io']);
}

interface HostReport {
  readonly ok: boolean;
  readonly checks: readonly { readonly name: string; readonly ok: boolean; readonly found: string }[];
}

async function doctor(guest: Guest): Promise<HostReport> {
  const { stdout, stderr } = await guest.run('doctor', '--output', 'json');
  expect(stderr).to.equal('');
  return JSON.parse(stdout) as HostReport;
}

export async function findNothingMissing(guest: Guest): Promise<void> {
  const { ok, checks } = await doctor(guest);
  expect(checks.filter((check) => !check.ok)).to.deep.equal([]);
  expect(ok).to.equal(true);
  expect(checks.find(({ name }) => name === 'cgroups')?.found).to.equal('v2 (unified)');
}

export async function findNetem(guest: Guest): Promise<void> {
  const { checks } = await doctor(guest);
  expect(checks.find(({ name }) => name === 'netem')?.found).to.equal('works');
}
