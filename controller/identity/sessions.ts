/** Who a token belongs to, as things stand now, and its end before its time. */
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

export class Sessions {
  constructor(private readonly deps: Pick<IdentityDeps, 'store' | 'tokens' | 'clock'>) {}

  /** Code: unauthenticated. */
  async authenticate(token: string): Promise<Principal> {
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
