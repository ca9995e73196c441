/** The host as the product finds it, and the cluster's beginning and end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { residueOf } from '../../support/residue.js';
import { eventually, type Guest } from './guest.js';

interface GatewayJson {
  readonly url: string;
  readonly pid: number;
  readonly ready: boolean;
}

/** Emulated, its code alone takes half a minute to load. */
const GATEWAY_START_MS = 300_000;

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

export async function bringUp(guest: Guest): Promise<void> {
  await guest.ok('up');
  const status = await guest.json<{ instance: string; warnings: string[] }>('status');
  expect(status.instance).to.equal(guest.instance);
}

/** It comes up, and is still the same process when all that was checked in between is done. */
export async function gatewayAnswers(guest: Guest): Promise<void> {
  const gateway = await eventually(
    async () => (await guest.json<{ gateway: GatewayJson }>('status')).gateway,
    ({ ready }) => ready,
    GATEWAY_START_MS,
  );
  const answer = await fetch(`${gateway.url}/healthz`);
  expect(answer.status).to.equal(200);
  guest.kept.set('gateway-pid', String(gateway.pid));
}

export async function gatewayStays(guest: Guest): Promise<void> {
  const { gateway } = await guest.json<{ gateway: GatewayJson }>('status');
  expect(String(gateway.pid)).to.equal(guest.kept.get('gateway-pid'));
  expect(readFileSync(join(guest.stateDir, 'controller.log'), 'utf8')).not.to.contain('the gateway ended');
  const answer = await fetch(`${gateway.url}/metrics`);
  expect(answer.status).to.equal(200);
  expect(await answer.text()).to.match(/^nexus_up 1$/m);
}

export async function leaveNothing(guest: Guest): Promise<void> {
  await guest.ok('down', '--purge');
  expect(residueOf(guest.instance)).to.deep.equal([]);
}
