/** From root to the service user, for good, before anything that comes from outside is looked at. */
import type { UserIds } from '../shared/host/service-user.js';
import { NexusError } from '../shared/errors.js';

/** `ids` undefined: it was not started by root. Code: failed_precondition. */
export function dropPrivileges(ids: UserIds | undefined): void {
  process.umask(0o077);
  if (ids !== undefined) {
    if (ids.uid === 0) throw new NexusError('failed_precondition', 'service-user must not be root');
    process.setgroups?.([ids.gid]);
    process.setgid?.(ids.gid);
    process.setuid?.(ids.uid);
  }
  if (process.getuid?.() === 0 || process.geteuid?.() === 0)
    throw new NexusError('failed_precondition', 'the gateway never runs as root');
}
