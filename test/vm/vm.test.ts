/**
 * The product in a machine whose cgroups are v2 alone, with Debian's own kernel: each check of the guest is a test here.
 * NEXUS_VM_SHORT=1 runs those that say so.
 */
import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { runCommand } from '../../shared/exec.js';
import { PROJECT } from '../support/cluster.js';
import { skipWithout } from '../support/system.js';
import { CHECKS } from './guest/checks.js';
import { Machine } from './machine.js';
import { projectDisk } from './project-disk.js';

const isShort = process.env['NEXUS_VM_SHORT'] === '1';
/** Several times what a quiet machine of two cores takes. */
const TIME_LIMIT_MS = (isShort ? 25 : 40) * 60_000;
/** Making the disk, before the machine starts. */
const PREPARATION_MS = 5 * 60_000;

function whySkipped(): string | undefined {
  if (process.getuid?.() !== 0) return 'the disk of the guest needs root: run npm run test:vm, which asks for it';
  return existsSync('/usr/bin/qemu-system-x86_64')
    ? undefined
    : 'no qemu-system-x86_64: run deploy/bootstrap.sh --for vm';
}

describe('a machine with cgroups v2 alone', function () {
  this.timeout(TIME_LIMIT_MS + PREPARATION_MS);
  this.slow(TIME_LIMIT_MS);
  let machine: Machine | undefined;

  before(async function () {
    skipWithout(this, whySkipped());
    const { stdout } = await runCommand('deploy/vm-system.sh', [], {
      failure: 'the machine cannot be made',
      cwd: PROJECT,
      timeoutMs: PREPARATION_MS,
    });
    const disk = await projectDisk();
    machine = new Machine({ system: stdout.trim(), projectDisk: disk, isShort, timeLimitMs: TIME_LIMIT_MS });
  });
  after(async () => {
    await machine?.destroy();
  });

  for (const { name } of CHECKS.filter((check) => check.isShort === true || !isShort)) {
    it(name, async () => {
      const { failure } = await machine!.reportOf(name);
      if (failure !== undefined) throw new Error(failure);
    });
  }

  it('powers itself off', async () => {
    expect(await machine!.end()).to.equal('it has powered off');
  });
});
