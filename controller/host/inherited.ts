/**
 * Resets what a daemon inherits from its parent, so that it affects neither the daemon nor its children: file mode
 * mask, working folder, open files, environment and resource limits get known values before anything else happens.
 * Signals need nothing: Node unblocks them, and resets them for itself and its children; it also opens closed standard
 * streams.
 */
import { closeSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { raiseLimits } from '../../shared/host/limits.js';

/** Modes are set where files and folders are made; a stricter inherited mask would remove bits from them. */
const UMASK = 0o022;
const STANDARD_STREAMS = 3;
const O_CLOEXEC = 0o2000000;

/** Call before anything else. Code: failed_precondition, naming each limit that is too low and can't be raised. */
export async function leaveInheritance(): Promise<void> {
  process.umask(UMASK);
  process.chdir('/');
  closeInherited();
  replaceEnvironment(process.env);
  await raiseLimits();
}

/** Node's own files are close-on-exec. Others were left open by the parent process. */
function closeInherited(): void {
  for (const name of readdirSync('/proc/self/fd')) {
    const descriptor = Number(name);
    if (descriptor < STANDARD_STREAMS) continue;
    try {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, 'utf8'))?.[1] ?? '';
      if ((Number.parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(descriptor);
    } catch {
      // The folder's own descriptor, closed since.
    }
  }
}

/** Other variables change what programs do: TAR_OPTIONS, LD_PRELOAD, MKE2FS_CONFIG, NOTIFY_SOCKET, and unknown ones. */
const KEPT_VARIABLE =
  /^(NEXUS_\w+|PG[A-Z]+|XDG_\w+|HOME|USER|LOGNAME|TZ|TMPDIR|(http|https|ftp|no|all)_proxy|(HTTPS?|FTP|NO|ALL)_PROXY|SSL_CERT_(FILE|DIR)|NODE_EXTRA_CA_CERTS)$/;

/** Debian's folders of programs. Names found here are never looked for elsewhere. */
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Exported for the test. */
export function replaceEnvironment(env: NodeJS.ProcessEnv): void {
  const further = (env['PATH'] ?? '').split(':').filter((folder) => !SYSTEM_PATH.includes(folder) && isTrusted(folder));
  for (const name of Object.keys(env)) if (!KEPT_VARIABLE.test(name)) Reflect.deleteProperty(env, name);
  if (env['TMPDIR'] !== undefined && !isFolder(env['TMPDIR'])) delete env['TMPDIR'];
  env['PATH'] = [...SYSTEM_PATH, ...new Set(further)].join(':');
  // Programs' messages and sorting; names stay UTF-8.
  env['LC_ALL'] = 'C.UTF-8';
}

/** Whether only root and this user can put programs into the folder. */
function isTrusted(folder: string): boolean {
  if (!folder.startsWith('/')) return false;
  try {
    const { uid, mode } = statSync(folder);
    return (uid === 0 || uid === process.getuid?.()) && (mode & 0o022) === 0;
  } catch {
    return false;
  }
}

function isFolder(path: string): boolean {
  try {
    return path.startsWith('/') && statSync(path).isDirectory();
  } catch {
    return false;
  }
}
