/**
 * Resolves tokens to users, by the current state of accounts, and revokes them.
 *
 * A result is cached until anything is written to the accounts or a key is replaced: a logout, a role or a disabled
 * account counts with the next call, and a client that calls often costs no signature check.
 */
import { auditLine, type IdentityDeps, type Origin } from './deps.js';
import type { Role } from './port.js';
import { refused } from './tokens.js';

export interface Principal {
  readonly username: string;
  readonly email: string;
  readonly role: Role;
  readonly tokenId: string;
  /** ms since the epoch. */
  readonly expiresAt: number;
}

/** Life of a cached result, ms: bounds how long a change of the database from outside goes unnoticed. */
const MAX_AGE_MS = 5000;
/** Tokens whose result is cached; the oldest is dropped. */
const MAX_KEPT = 4096;

interface Kept {
  readonly principal: Principal;
  readonly epoch: string;
  /** Monotonic. */
  readonly until: number;
}

export class Sessions {
  /** Cached results by token. */
  readonly #kept = new Map<string, Kept>();

  constructor(private readonly deps: Pick<IdentityDeps, 'store' | 'tokens' | 'clock'>) {}

  /** Code: unauthenticated. */
  async authenticate(token: string): Promise<Principal> {
    const { clock } = this.deps;
    // Read first: a change during the lookup must invalidate its result.
    const epoch = this.#epoch();
    const kept = this.#kept.get(token);
    if (kept?.epoch === epoch && clock.monotonic() < kept.until && clock.now() < kept.principal.expiresAt)
      return kept.principal;
    this.#kept.delete(token);
    const principal = await this.#lookUp(token);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(token, { principal, epoch, until: clock.monotonic() + MAX_AGE_MS });
    return principal;
  }

  #epoch(): string {
    const { store, tokens } = this.deps;
    return `${store.revision()} ${tokens.keyId}`;
  }

  async #lookUp(token: string): Promise<Principal> {
    const { store, tokens } = this.deps;
    const { username, tokenId, generation, expiresAt } = tokens.verify(token);
    const user = await store.users.get(username);
    if (user === undefined) throw refused('belongs to nobody');
    if (user.disabled) throw refused('belongs to a disabled account');
    if (user.tokenGeneration !== generation) throw refused('is void since the account was disabled');
    if (await store.revocations.has(tokenId)) throw refused('was revoked by a logout');
    return { username, email: user.email, role: user.role, tokenId, expiresAt };
  }

  /** Idempotent. */
  async logout({ username, tokenId, expiresAt }: Principal, origin: Origin): Promise<void> {
    const { store, clock } = this.deps;
    await store.revocations.add(tokenId, expiresAt, auditLine(clock, origin, 'logout', username));
  }
}
