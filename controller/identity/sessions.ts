/**
 * Who a token belongs to, as things stand now, and its end before its time.
 *
 * What was found for a token is kept and holds for as long as nothing was written to the accounts and no key was replaced:
 * a logout, a role or a disabled account counts with the next call, and a client that calls often costs no signature check.
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

/** Whoever changes the database behind the controller's back is noticed after this. */
const MAX_AGE_MS = 5000;
/** Clients that call often; the oldest goes. */
const MAX_KEPT = 4096;

interface Kept {
  readonly principal: Principal;
  readonly epoch: string;
  /** Monotonic. */
  readonly until: number;
}

export class Sessions {
  /** By token. */
  readonly #kept = new Map<string, Kept>();

  constructor(private readonly deps: Pick<IdentityDeps, 'store' | 'tokens' | 'clock'>) {}

  /** Code: unauthenticated. */
  async authenticate(token: string): Promise<Principal> {
    const { clock } = this.deps;
    // Before anything is read: what changes meanwhile must make this void.
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

  /** Twice is once. */
  async logout({ username, tokenId, expiresAt }: Principal, origin: Origin): Promise<void> {
    const { store, clock } = this.deps;
    await store.revocations.add(tokenId, expiresAt, auditLine(clock, origin, 'logout', username));
  }
}
