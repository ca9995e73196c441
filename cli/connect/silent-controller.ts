/**
 * A controller that is there and does not answer: stopped by a signal, or busy beyond measure. To say that it is not
 * running would send people to start a second one. Who it is, is known by the lock that it holds on the state folder.
 */
import { readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, cancel } from '../../shared/async/timers.js';
import { outcome } from '../../shared/async/wait.js';
import { CONTROLLER_LOG, DEFAULT_INSTANCE, LOCK_FILE } from '../../shared/config/instance.js';
import type { Settings } from '../../shared/config/settings.js';
import { NexusError } from '../../shared/errors.js';

/** SQLite locks nothing before this byte. */
const FIRST_LOCKED_BYTE = 1_073_741_824;
/** E.g. `1: POSIX  ADVISORY  WRITE 4711 fd:00:1234 1073741824 1073742335`. */
const LOCK_LINE = /^\d+: POSIX +ADVISORY +WRITE (\d+) \S+:(\d+) (\d+) /gm;

/** The process that holds the instance, where this user may see it. */
export function controllerPid(settings: Settings): number | undefined {
  try {
    const { ino } = statSync(join(settings.stateDir, LOCK_FILE));
    // The device is left out: layered file systems name another one here than stat does.
    for (const [, pid, inode, start] of readFileSync('/proc/locks', 'utf8').matchAll(LOCK_LINE))
      if (Number(inode) === ino && Number(start) >= FIRST_LOCKED_BYTE && Number(pid) > 0) return Number(pid);
  } catch {
    // Another user's state folder: the message does without.
  }
  return undefined;
}

export const flagOf = ({ instance }: Settings): string =>
  instance === DEFAULT_INSTANCE ? '' : ` --instance ${instance}`;

/** Its code differs from that of a controller that is not running, so that callers can tell them apart. */
export function notAnswering(settings: Settings): NexusError {
  const pid = controllerPid(settings);
  const who = pid === undefined ? `at ${settings.socket}` : `(pid ${pid})`;
  const log = join(settings.stateDir, CONTROLLER_LOG);
  return new NexusError(
    'deadline_exceeded',
    `the controller of "${settings.instance}" ${who} is running but does not answer; wait, and see its log: ${log}, or journalctl -u nexus-controller; ` +
      `if it was stopped: kill -CONT ${pid ?? 'PID'}; if nothing helps: kill -9 ${pid ?? 'PID'}, then nexus up${flagOf(settings)} (nodes keep running)`,
  );
}

/** How long a controller may take to say the first word on a new connection. */
const FIRST_WORD_MS = 5000;
/** The beginning of HTTP/2 by a client: the connection preface and an empty SETTINGS frame. */
const GREETING = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/** Whether somebody says a word on the socket within seconds; undefined: nobody listens there. Never rejects. */
export const answersNow = (socketPath: string): Promise<boolean | undefined> =>
  outcome((settle) => {
    const socket = connect(socketPath, () => socket.write(GREETING));
    const timer = after(FIRST_WORD_MS, () => settle(false));
    socket.once('data', () => settle(true));
    socket.once('end', () => settle(undefined));
    socket.once('error', () => settle(undefined));
    return () => {
      cancel(timer);
      socket.destroy();
    };
  });
