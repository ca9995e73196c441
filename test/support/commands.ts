/** Commands that the contract of container runtimes runs in a node, and what the runtime in memory makes of them. */
import type { FakeProgram } from '../fakes/exec.js';
import type { ExecHandle, ExecSpec } from '../../controller/hosting/runtime.js';

/** Says a line on each stream and exits with 3. */
export const SAY_AND_FAIL = ['sh', '-c', 'echo out; echo err >&2; exit 3'];
/** Says what GREETING is. */
export const GREET = ['sh', '-c', 'echo "$GREETING"'];
/** Longer than any test. */
export const WAIT = ['sleep', '250'];

/** What these and `cat` do, for the runtime in memory: by the whole command line. */
export const PROGRAMS: ReadonlyMap<string, FakeProgram> = new Map<string, FakeProgram>([
  [
    SAY_AND_FAIL.join(' '),
    async ({ say }) => {
      await say('stdout', 'out\n');
      await say('stderr', 'err\n');
      return 3;
    },
  ],
  [
    'cat',
    async ({ input, say }) => {
      for await (const piece of input) await say('stdout', piece);
      return 0;
    },
  ],
  [
    GREET.join(' '),
    async ({ spec, say }) => {
      await say('stdout', `${spec.env['GREETING'] ?? ''}\n`);
      return 0;
    },
  ],
  [WAIT.join(' '), () => new Promise<number>(() => undefined)],
]);

export const execSpec = (command: readonly string[], change: Partial<ExecSpec> = {}): ExecSpec => ({
  command,
  tty: false,
  columns: 80,
  rows: 24,
  env: {},
  uid: 0,
  workingDir: '/',
  ...change,
});

/** Takes all output; what is there grows as it comes. */
export function collect(handle: ExecHandle): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  handle.onOutput(async (stream, data) => {
    output[stream] += data.toString('utf8');
  });
  return output;
}
