/** Accounts and keys, for administrators. A change of an account is stored in one transaction with its audit line. */
import { NexusError } from '../../shared/errors.js';
import { LOCAL_ADMINISTRATOR } from '../../shared/users.js';
import { afterCommit } from '../file/after-commit.js';
import { auditLine, type IdentityDeps, type Origin } from './deps.js';
import type { AuditRecord, Role, UserRecord } from './port.js';
import { canAdminister, passwordComplaint } from './rules.js';

/** Its form was checked by the edge; the address is normalised. */
export interface NewUser {
  readonly username: string;
  readonly email: string;
  readonly password: string;
  readonly role: Role;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  /** Undefined: this is the last page. */
  readonly next: string | undefined;
}

export class Administration {
  constructor(private readonly deps: IdentityDeps) {}

  /** Lists by name, after the given one. */
  async listUsers(limit: number, after: string): Promise<Page<UserRecord>> {
    const items = await this.deps.store.users.list({ limit, after });
    return { items, next: items.length < limit ? undefined : items.at(-1)?.username };
  }

  /** True for an account, and for the local administrator, who needs none. */
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

  /** Disabling voids all issued tokens for good. Codes: not_found, failed_precondition (the last administrator). */
  async setDisabled(username: string, disabled: boolean, origin: Origin): Promise<UserRecord> {
    const { store, clock, limits } = this.deps;
    const audit = auditLine(clock, origin, disabled ? 'user.disabled' : 'user.enabled', username);
    // Enabling resets the counts, also of an account that was enabled: the way in for an owner locked out by somebody
    // else's attempts. Before the change, because a failure after it would hide that it was stored.
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

  /** Returns the new key's id. Code: resource_exhausted. */
  async rotateSigningKey(voidOldTokens: boolean, origin: Origin): Promise<string> {
    const { store, keys, clock, settings } = this.deps;
    const kid = await keys.rotate(voidOldTokens ? 0 : settings.tokenTtlMs);
    const detail = voidOldTokens ? `key ${kid}, old tokens void` : `key ${kid}`;
    // The key is in force already: an error would make the caller rotate it again.
    await afterCommit(this.deps.log, 'note that the signing key was rotated', () =>
      store.audit.append(auditLine(clock, origin, 'key.rotated', '', detail)),
    );
    return kid;
  }

  /** Lists newest first, older than `before` (0: from the newest); of one account or (empty) all. */
  async listAudit(limit: number, before: number, username: string): Promise<Page<AuditRecord>> {
    const items = await this.deps.store.audit.list({ limit, before, username });
    return { items, next: items.length < limit ? undefined : items.at(-1)?.id.toString() };
  }
}

/**
 * Refuses to take the last administrator away over the gateway, where nobody could make another one. The admin socket,
 * which needs no account, still can. Code: failed_precondition.
 */
function assertNotTheLast(user: UserRecord, otherAdministrators: number, { address }: Origin): void {
  const isLocal = address === '';
  if (isLocal || otherAdministrators > 0 || !canAdminister(user)) return;
  throw new NexusError(
    'failed_precondition',
    `"${user.username}" is the last administrator who can log in`,
    {},
    { advice: { key: 'make-administrator' } },
  );
}

/** Calls over the admin socket act under this name, so its account must be an admin's. Code: invalid_argument. */
function assertRoleOfLocalAdministrator(username: string, role: Role): void {
  if (username === LOCAL_ADMINISTRATOR && role !== 'admin') {
    throw new NexusError('invalid_argument', `"${username}" is the local administrator and has the role admin`, {
      field: 'role',
    });
  }
}
