/** The system user of the unprivileged children, from /etc/passwd. */
import { readFile } from 'node:fs/promises';
import { NexusError } from '../errors.js';

export interface UserIds {
  readonly uid: number;
  readonly gid: number;
}

/** Undefined when we are not root and so can't become anyone else. Code: failed_precondition (no such user). */
export async function serviceUserIds(name: string): Promise<UserIds | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) {
    throw new NexusError(
      'failed_precondition',
      `there is no system user "${name}"; run deploy/bootstrap.sh, or set service-user`,
    );
  }
  return { uid: Number(uid), gid: Number(gid) };
}
