/** Runtimes: the shell's table is the product's, and a runtime that refuses a host is refused before anything is installed. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { abilitiesOf, assertWorksWith, RUNTIME_NAMES, traitsOf } from '../../shared/config/runtimes.js';
import { NexusError } from '../../shared/errors.js';
import { PROJECT } from '../support/cluster.js';
import { skipWithout } from '../support/system.js';

const onUnified = (isUnified: boolean): string => `has_unified_cgroups() { ${isUnified ? 'true' : 'false'}; }`;

function shell(...lines: readonly string[]): string {
  const script = ['set -euo pipefail', '. deploy/lib/runtimes.sh', ...lines].join('\n');
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], { cwd: PROJECT, encoding: 'utf8' });
  expect(status, stderr).to.equal(0);
  return stdout.trim();
}

function refusal(runtime: (typeof RUNTIME_NAMES)[number]): string {
  try {
    assertWorksWith('v1', runtime);
  } catch (error) {
    if (error instanceof NexusError) return inCommandWords(error);
    throw error;
  }
  return '';
}

describe('runtimes', () => {
  it('have the same table in the shell: names, programs, and what they refuse in which words', () => {
    const names = 'for row in "${RUNTIMES[@]}"; do echo "${row%% *}"; done';
    expect(shell(names).split('\n').sort()).to.deep.equal([...RUNTIME_NAMES].sort());
    for (const name of RUNTIME_NAMES) {
      const program = abilitiesOf(name).needsRoot ? name : '';
      expect(shell(onUnified(true), `runtime_program ${name}`), name).to.equal(program);
      expect(shell(onUnified(true), `runtime_refused ${name} || true`), name).to.equal('');
      expect(shell(onUnified(false), `runtime_refused ${name} || true`), name).to.equal(refusal(name));
      expect(shell(onUnified(false), `runtime_program ${name}`), name).to.equal(refusal(name) === '' ? program : '');
      expect(traitsOf(name).program?.name ?? '', name).to.equal(program);
    }
  });

  it('that refuse this host are refused by a fresh checkout before it installs anything', function () {
    const isUnified = existsSync('/sys/fs/cgroup/cgroup.controllers');
    skipWithout(this, isUnified ? 'this host has cgroups v2 alone, on which every runtime works' : undefined);
    const folder = mkdtempSync(join(tmpdir(), 'nexus-fresh-'));
    try {
      cpSync(join(PROJECT, 'nexus'), join(folder, 'nexus'));
      cpSync(join(PROJECT, 'deploy'), join(folder, 'deploy'), { recursive: true });
      const before = readdirSync(folder, { recursive: true });
      const refusing = RUNTIME_NAMES.filter((name) => refusal(name) !== '');
      expect(refusing).not.to.deep.equal([]);
      for (const name of refusing) {
        const env = { PATH: process.env['PATH'], HOME: folder };
        const args = ['up', '--runtime', name, '--instance', 'nexus-fresh'];
        const { status, stdout, stderr } = spawnSync(join(folder, 'nexus'), args, { env, encoding: 'utf8' });
        expect([status, stdout, stderr]).to.deep.equal([4, '', `nexus: ${refusal(name)}\n`]);
      }
      expect(readdirSync(folder, { recursive: true })).to.deep.equal(before);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
