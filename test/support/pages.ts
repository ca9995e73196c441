/**
 * Every command line of the README and of docs/, run in the order in which it stands, each page with a cluster of its
 * own. The pages speak of the default instance; its paths and ports are replaced by those of the test's. Pages of one file
 * of tests run one after another, those of different files side by side.
 */
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { loadSettings } from '../../shared/config/settings.js';
import { PROJECT, TestCluster } from './cluster.js';
import { readPage } from './documentation.js';
import { residueOf } from './residue.js';
import { skipWithoutSystem } from './system.js';

const execute = promisify(execFile);

const PAGES = [
  'README.md',
  ...readdirSync(join(PROJECT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .sort()
    .map((name) => join('docs', name)),
];

const HEAD = `
set -euo pipefail
shopt -s expand_aliases
trap 'printf "exit code %s: %s\\n" "$?" "$BASH_COMMAND" >&2' ERR
until_interrupted() { timeout --preserve-status --signal=INT --kill-after=10 "$@" || [ $? = 130 ]; }
# An answer that is an error is one here, too.
curl() { command curl --fail-with-body "$@"; }
in_terminal() { echo exit | script --quiet --return --command "$(printf '%q ' "$@")" /dev/null; }
`;

/** By file of tests: what the page's name begins with. What no other file takes is the last one's. */
export type Part = 'README.md' | 'docs/cli.md' | 'docs/internals/' | 'docs/operations/' | 'docs/';
const PARTS: readonly Part[] = ['README.md', 'docs/cli.md', 'docs/internals/', 'docs/operations/', 'docs/'];

export function describePages(part: Part): void {
  describe('the documentation', function () {
    this.timeout(600_000);
    before(function () {
      skipWithoutSystem(this);
    });

    for (const page of PAGES) {
      if (PARTS.find((start) => page.startsWith(start)) !== part) continue;
      const { script, shown, leftOut } = readPage(readFileSync(join(PROJECT, page), 'utf8'));
      if (shown === 0) continue;
      const notRun = leftOut.length === 0 ? '' : `, ${leftOut.length} fence(s) left out: ${leftOut.join('; ')}`;
      it(`${page}: ${shown} lines${notRun}`, async () => {
        await runPage(script);
      });
    }
  });
}

async function runPage(script: string): Promise<void> {
  // Its names alone are used: the page itself starts and ends what it needs.
  const { instance, folder: unused, runDir, socket, stateDir } = new TestCluster();
  rmSync(unused, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'nexus-docs-'));
  const program = join(folder, 'nexus');
  writeFileSync(program, `#!/bin/sh\nexec "${join(PROJECT, 'nexus')}" "$@"\n`);
  chmodSync(program, 0o755);
  symlinkSync(join(PROJECT, 'deploy'), join(folder, 'deploy'));
  const images = join(PROJECT, '.cache');
  const image = readdirSync(images).find((name) => name.startsWith('base-image')) ?? '';
  const env = {
    ...process.env,
    BASE_IMAGE: join(images, image),
    NEXUS_INSTANCE: instance,
    PATH: `${folder}:${process.env['PATH'] ?? ''}`,
  };
  const own = script
    .replaceAll('/var/run/nexus.sock', socket)
    .replaceAll('/run/nexus/', `${runDir}/`)
    .replaceAll('/var/lib/nexus', stateDir)
    .replaceAll('127.0.0.1:8080', `127.0.0.1:${String(loadSettings({ env }).gatewayPort)}`)
    .replaceAll('127.0.0.1:9090', `127.0.0.1:${20_000 + randomInt(10_000)}`)
    .replaceAll('npx buf', join(PROJECT, 'node_modules', '.bin', 'buf'));
  try {
    await execute('bash', ['-c', `${HEAD}\n${own}`], { env, cwd: folder, maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${stderr.slice(-2000)}\n${stdout.slice(-2000)}`, { cause: error });
  } finally {
    const purge = (): Promise<unknown> => execute(program, ['down', '--purge'], { env });
    // Pages that end or purge their cluster leave none that could do it.
    if (residueOf(instance).length > 0)
      await purge().catch(async () => {
        await execute(program, ['up'], { env });
        await purge();
      });
    rmSync(folder, { recursive: true, force: true });
  }
  expect(residueOf(instance)).to.deep.equal([]);
}
