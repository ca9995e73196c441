/** Running the same command line again as root through sudo. */
import { exitOf, startChild, tryCommand } from '../../shared/exec.js';
import { NexusError } from '../../shared/errors.js';
import type { Streams } from '../terminal/streams.js';

/** Names the user on whose behalf root acts, `uid:gid`, so that downloaded files become theirs. */
export const CALLER_VARIABLE = 'NEXUS_CALLER';

/** The exit code of the command as root. Code: permission_denied when sudo can't be used here. */
export async function runAsRoot(argv: readonly string[], streams: Streams): Promise<number> {
  await checkSudo(streams);
  const program = process.argv[1] ?? '';
  const args = ['--', 'env', ...keptVariables(streams.env), process.execPath, ...process.execArgv, program, ...argv];
  return await exitOf(startChild('sudo', args, { stdio: 'inherit' })).catch((error: unknown) => {
    const message = `sudo could not be started: ${(error as Error).message}`;
    throw new NexusError('permission_denied', message, {}, { cause: error });
  });
}

/** sudo drops the environment; what Nexus reads from it is handed on by name. */
function keptVariables(env: NodeJS.ProcessEnv): string[] {
  const kept = Object.entries(env).filter(([name]) => name.startsWith('NEXUS_') || KEPT.has(name));
  const caller = `${CALLER_VARIABLE}=${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  return [...kept.map(([name, value]) => `${name}=${value ?? ''}`), caller];
}

const KEPT: ReadonlySet<string> = new Set(['NO_COLOR', 'TERM', 'LANG', 'COLUMNS']);

const WITHOUT_SUDO =
  'this needs root and there is no sudo; run it as root: su -c "nexus ...", or have a cluster of your own, without isolation: nexus up --runtime process';

async function checkSudo(streams: Streams): Promise<void> {
  const advice = 'run it as root: sudo nexus ...';
  try {
    if (streams.stdin.isTTY === true) {
      await tryCommand('sudo', ['-V'], { timeoutMs: 5000 });
      return;
    }
    const silent = await tryCommand('sudo', ['-n', 'true'], { timeoutMs: 10_000 });
    if (silent.exitCode === 0) return;
  } catch (error) {
    throw new NexusError('permission_denied', WITHOUT_SUDO, {}, { cause: error });
  }
  throw new NexusError('permission_denied', `this needs root and sudo would ask for a password; ${advice}`);
}
