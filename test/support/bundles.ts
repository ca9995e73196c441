/**
 * The command line and the agent as one file each, for tests that start many processes of them: each would take longer to
 * transpile them than for all that is tested. The built command line is taken where it is of these sources, as its
 * bytecode halves the time of a start.
 */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..', '..');
const BUILT = join(root, 'dist', 'cli', 'main.js');
/** As the launcher finds it out. */
const isBuilt = ((): boolean => {
  const line = '. deploy/lib/sources.sh; if sources_changed "$PWD"; then echo changed; fi';
  return execFileSync('bash', ['-c', line], { cwd: root, encoding: 'utf8' }) === '';
})();
const bundled = new Map<string, Promise<string>>();

/** Paths below the project, where the command line looks for its version; the files go with this process. */
export const cliBundle = (): Promise<string> => (isBuilt ? Promise.resolve(BUILT) : bundleOf('cli'));
export const agentBundle = (): Promise<string> => bundleOf('agent');

function bundleOf(name: 'cli' | 'agent'): Promise<string> {
  const bundle = bundled.get(name) ?? makeBundle(name);
  bundled.set(name, bundle);
  return bundle;
}

async function makeBundle(name: string): Promise<string> {
  const outfile = join(root, '.cache', `${name}-${process.pid}.cjs`);
  process.once('exit', () => {
    rmSync(outfile, { force: true });
  });
  await build({
    absWorkingDir: root,
    entryPoints: [`${name}/main.ts`],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    external: ['node-pty', 'better-sqlite3'],
    banner: { js: "const sourceUrl = require('node:url').pathToFileURL(__filename).href;" },
    define: { 'import.meta.url': 'sourceUrl' },
    logLevel: 'silent',
  });
  return outfile;
}
