/** What administrators do with accounts and keys. Each change and its line in the audit log are one. */
import { NexusError } from '../../shared/errors.js';
import { LOCAL_ADMINISTRATOR } from '../../shared/users.js';
import { afterCommit } from '../file/after-commit.js';
import { auditLine, type IdentityDeps, type Origin } from './deps.js';
import type { AuditRecord, Role, UserRecord } from './port.js';
import { canAdminister, passwordComplaint } from './rules.js';

/** Checked by the edge for form; the address is normalised. */
export interface NewUser {
  readonly username: string;
  readonly email: string;
  readonly password: string;
  readonly role: Role;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  /** Undefined: there is no more. */
  readonly next: string | undefined;
}

export class Administration {
  constructor(private readonly deps: IdentityDeps) {}

  /** By name, after the given one. */
  async listUsers(limit: number, after: string): Promise<Page<UserRecord>> {
    const items = await this.deps.store.users.list({ limit, after });
    return { items, next: items.length < limit ? undefined : items.at(-1)?.username };
  }

  /** The local administrator is somebody, too. */
  async exists(username: string): Promise<boolean> {
    return username === LOCAL_ADMINISTRATOR || (await this.deps.store.users.get(username)) !== undefined;
  }

  /** Codes: invalid_argument, already_exists. */
  async create({ username, email, password, role }: NewUser, origin: Origin): Promise<UserRecord> {
    const { store, hasher, clock } = this.deps;
    assertRoleOfLocalAdministrator(username, role);
    const complaint = passwordComplaint(password, username, email);
    if (complaint !== undefined) {
      throw new NexusError('invalid_argument', `password: ${complaint}`, { field: 'password' });
    }
    const passwordHash = await hasher.hash(password);
    const createdAt = clock.now();
    const user = { username, email, passwordHash, role, disabled: false, tokenGeneration: 0, createdAt };
    await store.users.create(user, auditLine(clock, origin, 'user.created', username, `role ${role}`));
    return user;
  }

  /** Codes: not_found, invalid_argument, failed_precondition (the last administrator). */
  async setRole(username: string, role: Role, origin: Origin): Promise<UserRecord> {
    assertRoleOfLocalAdministrator(username, role);
    const { store, clock } = this.deps;
    const audit = auditLine(clock, origin, 'user.role-changed', username, `role ${role}`);
    return await store.users.update(
      username,
      (user, others) => {
        if (role !== 'admin') assertNotTheLast(user, others, origin);
        return { role };
      },
      audit,
    );
  }

  /** Disabling makes all tokens void that are out, for good. Codes: not_found, failed_precondition (the last administrator). */
  async setDisabled(username: string, disabled: boolean, origin: Origin): Promise<UserRecord> {
    const { store, clock, limits } = this.deps;
    const audit = auditLine(clock, origin, disabled ? 'user.disabled' : 'user.enabled', username);
    // Also of an account that was enabled: the way in for an owner whom somebody else's attempts keep out. Before the
    // change: a failure after it would be the answer to something that is stored.
    const known = disabled ? undefined : await store.users.get(username);
    if (known !== undefined) await limits.forget([known.username, known.email]);
    return await store.users.update(
      username,
      (user, others) => {
        if (disabled) assertNotTheLast(user, others, origin);
        return { disabled, tokenGeneration: user.tokenGeneration + (disabled ? 1 : 0) };
      },
      audit,
    );
  }

  /** Answers the new key's id. Code: resource_exhausted. */
  async rotateSigningKey(voidOldTokens: boolean, origin: Origin): Promise<string> {
    const { store, keys, clock, settings } = this.deps;
    const kid = await keys.rotate(voidOldTokens ? 0 : settings.tokenTtlMs);
    const detail = voidOldTokens ? `key ${kid}, old tokens void` : `key ${kid}`;
    // The key is in force: an answer that says otherwise would have it rotated twice.
    await afterCommit(this.deps.log, 'note that the signing key was rotated', () =>
      store.audit.append(auditLine(clock, origin, 'key.rotated', '', detail)),
    );
    return kid;
  }

  /** Newest first, older than `before` (0: from the newest); of one account or (empty) all. */
  async listAudit(limit: number, before: number, username: string): Promise<Page<AuditRecord>> {
    const items = await this.deps.store.audit.list({ limit, before, username });
    return { items, next: items.length < limit ? undefined : items.at(-1)?.id.toString() };
  }
}

/**
 * Through the gateway nobody could make another one any more. Whoever has the admin socket, which asks for no account, can
 * and may.
 */
function assertNotTheLast(user: UserRecord, otherAdministrators: number, { address }: Origin): void {
  const isLocal = address === '';
  if (isLocal || otherAdministrators > 0 || !canAdminister(user)) return;
  throw new NexusError(
    'failed_precondition',
    `"${user.username}" is the last administrator who can log in; make another one first (nexus user set-role NAME admin), or do it on the cluster's own machine`,
  );
}

/** What comes over the admin socket belongs to this name: an account of it is an administrator's or nobody's. */
function assertRoleOfLocalAdministrator(username: string, role: Role): void {
  if (username === LOCAL_ADMINISTRATOR && role !== 'admin') {
    throw new NexusError('invalid_argument', `"${username}" is the local administrator and has the role admin`, {
      field: 'role',
    });
  }
}
