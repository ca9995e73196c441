/**
 * The command line from its sources as one file, for tests that start many processes of it: each would take longer to
 * transpile them than for all that is tested.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..', '..');
let bundled: Promise<string> | undefined;

/** Its path below the project, where the command line looks for its version; it goes with this process. */
export const cliBundle = (): Promise<string> => (bundled ??= bundle());

async function bundle(): Promise<string> {
  const outfile = join(root, '.cache', `cli-${process.pid}.cjs`);
  process.once('exit', () => {
    rmSync(outfile, { force: true });
  });
  await build({
    absWorkingDir: root,
    entryPoints: ['cli/main.ts'],
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
