/**
 * The units: what systemd thinks of them, and that a cluster works with the privileges that the controller's leaves it.
 * That systemd itself starts them is tried in the virtual machine (test/vm).
 */
import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { PROJECT, TestCluster } from '../support/cluster.js';
import { residueOf } from '../support/residue.js';
import { skipWithoutSystem } from '../support/system.js';

const execute = promisify(execFile);
const unit = (name: string): string => join(PROJECT, 'deploy', 'systemd', `nexus-${name}.service`);

/** At most so much is open, by systemd's own scale from 0 to 10. */
const EXPOSURE = [
  ['controller', 8],
  ['gateway', 2],
] as const;

describe('the systemd units', function () {
  this.timeout(300_000);
  before(function () {
    skipWithoutSystem(this);
  });

  for (const [name, most] of EXPOSURE) {
    it(`of the ${name}: every key is known, and its exposure at most ${most}`, async () => {
      const args = ['security', '--offline=true', `--threshold=${most * 10}`, '--no-pager', unit(name)];
      const { stdout, stderr } = await execute('systemd-analyze', args);
      expect(stderr).to.equal('');
      expect(stdout).to.include('Overall exposure level');
    });
  }

  it('leave the controller what nodes take: one is made, runs commands and stores a file', async () => {
    const text = readFileSync(unit('controller'), 'utf8');
    const [, list = ''] = /^CapabilityBoundingSet=~(.*)$/m.exec(text) ?? [];
    const dropped = list.split(' ').map((name) => `-${name.replace('CAP_', '').toLowerCase()}`);
    expect(dropped).to.include('-sys_module');
    const { instance, folder } = new TestCluster();
    const env = { ...process.env, NEXUS_INSTANCE: instance };
    const nexus = async (...args: string[]): Promise<string> =>
      (await execute(process.execPath, [join(PROJECT, 'dist/cli/main.js'), ...args], { env })).stdout;
    try {
      const closed = /^NoNewPrivileges=yes$/m.test(text) ? ['--no-new-privs'] : [];
      const locked = [...closed, `--bounding-set=${dropped.join(',')}`, '--'];
      await execute('setpriv', [...locked, process.execPath, join(PROJECT, 'dist/cli/main.js'), 'up'], { env });
      const { controller } = JSON.parse(await nexus('status', '-o', 'json')) as { controller: { pid: number } };
      const statusOf = (pid: number): string => readFileSync(`/proc/${pid}/status`, 'utf8');
      const status = statusOf(controller.pid);
      // Programs that it starts with users of the host close the way back by themselves.
      const bus = Number(readFileSync(`/run/nexus-${instance}/nats.d/nats.pid`, 'utf8'));
      expect(statusOf(bus)).to.match(/^NoNewPrivs:\t1$/m);
      // CAP_SYS_MODULE is number 16.
      const [, bounding = ''] = /^CapBnd:\t([0-9a-f]+)$/m.exec(status) ?? [];
      expect((BigInt(`0x${bounding}`) >> 16n) & 1n).to.equal(0n);
      await nexus('node', 'create', 'one', '--storage', '64M');
      expect(await nexus('node', 'exec', 'one', '--', 'hostname')).to.equal('one\n');
      const copy = 'cp $(readlink -f /usr/bin/python3) /usr/local/bin/raised; chmod 4755 /usr/local/bin/raised';
      await nexus('node', 'exec', 'one', '--', 'sh', '-ec', copy);
      const raised = ['raised', '-c', 'import os; print(os.getuid(), os.geteuid())'];
      expect(await nexus('node', 'exec', '-u', '1000', 'one', '--', ...raised)).to.equal('1000 0\n');
      await nexus('file', 'upload', join(PROJECT, 'package.json'));
      await nexus('node', 'restart', 'one');
    } finally {
      await nexus('up');
      await nexus('down', '--purge');
      rmSync(folder, { recursive: true, force: true });
    }
    expect(residueOf(instance)).to.deep.equal([]);
  });
});
