/** Accounts and the audit log as text. */
import { NexusError } from '../../shared/errors.js';
import type { AuditEntry, User } from '../../shared/gen/nexus/v1/identity.js';
import { formatAge } from '../terminal/format.js';
import { table } from '../terminal/output.js';

/** A message field that the controller always sets. */
export function expectUser(user: User | undefined): User {
  if (user === undefined) throw new NexusError('internal', 'the controller answered without an account');
  return user;
}

export const usersTable = (users: readonly User[], width: number): string =>
  table(
    [
      { title: 'NAME', least: 16, flexible: 'anywhere' },
      { title: 'ROLE' },
      { title: 'STATE' },
      { title: 'AGE', leaveOut: 1 },
      { title: 'EMAIL', flexible: 'anywhere', least: 20 },
    ],
    users.map((user) => [user.username, user.role, stateOf(user), formatAge(user.createdAt), user.email]),
    width,
  );

export const userLine = (user: User): string => `${user.username}  ${user.role}, ${stateOf(user)}, ${user.email}`;

const stateOf = ({ disabled }: User): string => (disabled ? 'disabled' : 'active');

export const auditTable = (entries: readonly AuditEntry[], width: number): string =>
  table(
    [
      { title: 'AT', leaveOut: 2 },
      { title: 'ACTION' },
      { title: 'USER', least: 12, flexible: 'middle' },
      { title: 'BY', least: 12, flexible: 'middle' },
      { title: 'FROM', leaveOut: 1 },
      { title: 'DETAIL', flexible: 'words', least: 20 },
    ],
    entries.map((entry) => [entry.at, entry.action, entry.username, entry.actor, entry.address, entry.detail]),
    width,
  );
