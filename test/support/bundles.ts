/**
 * The command line and the agent from their sources as one file each, for tests that start many processes of them: each
 * would take longer to transpile them than for all that is tested.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..', '..');
const bundled = new Map<string, Promise<string>>();

/** Paths below the project, where the command line looks for its version; the files go with this process. */
export const cliBundle = (): Promise<string> => bundleOf('cli');
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
