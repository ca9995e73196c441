/**
 * Tokens of users: JWTs signed with ES256 and nothing else. What a token says is believed only after its signature; what
 * may have changed since (role, disabled, revoked) is looked up with each call and never taken from it.
 */
import { randomBytes } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { z } from 'zod';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { IdentityKeys } from './keys.js';
import type { UserRecord } from './port.js';

const ALGORITHM = 'ES256';
/** Longer ones were not made here. */
const MAX_TOKEN_CHARACTERS = 2048;

const claimsSchema = z.object({
  sub: z.string(),
  jti: z.string().min(1),
  /** The user's token generation when it was issued. */
  gen: z.number().int(),
  exp: z.number().int(),
});

export interface TokenClaims {
  readonly username: string;
  readonly tokenId: string;
  readonly generation: number;
  /** ms since the epoch. */
  readonly expiresAt: number;
}

export interface IssuedToken {
  readonly token: string;
  readonly expiresAt: number;
}

export class Tokens {
  constructor(
    private readonly keys: IdentityKeys,
    private readonly clock: Clock,
    private readonly settings: { readonly instance: string; readonly tokenTtlMs: number },
  ) {}

  issue(user: Pick<UserRecord, 'username' | 'role' | 'tokenGeneration'>): IssuedToken {
    const { kid, privateKey } = this.keys.signing;
    const issuedAt = Math.floor(this.clock.now() / 1000);
    const expires = issuedAt + Math.floor(this.settings.tokenTtlMs / 1000);
    const claims = {
      iss: this.settings.instance,
      sub: user.username,
      // For whoever reads the token; the controller looks the role up.
      role: user.role,
      gen: user.tokenGeneration,
      jti: randomBytes(16).toString('hex'),
      iat: issuedAt,
      exp: expires,
    };
    return { token: jwt.sign(claims, privateKey, { algorithm: ALGORITHM, keyid: kid }), expiresAt: expires * 1000 };
  }

  /** Another one when tokens may have become void with the key that signed them. */
  get keyId(): string {
    return this.keys.signing.kid;
  }

  /** Signature, issuer and time. Code: unauthenticated. */
  verify(token: string): TokenClaims {
    const key = this.keys.verifying(keyIdOf(token));
    if (key === undefined) throw refused('was not issued here, or its key has been replaced');
    const claims = claimsSchema.safeParse(this.#verified(token, key));
    if (!claims.success) throw refused('lacks a claim');
    const { sub: username, jti: tokenId, gen: generation, exp } = claims.data;
    return { username, tokenId, generation, expiresAt: exp * 1000 };
  }

  #verified(token: string, key: jwt.PublicKey): unknown {
    try {
      return jwt.verify(token, key, {
        algorithms: [ALGORITHM],
        issuer: this.settings.instance,
        clockTimestamp: Math.floor(this.clock.now() / 1000),
      });
    } catch (error) {
      throw refused(error instanceof jwt.TokenExpiredError ? 'has expired' : 'is not valid');
    }
  }
}

function keyIdOf(token: string): string {
  if (token.length > MAX_TOKEN_CHARACTERS) throw refused('is too long');
  const decoded = jwt.decode(token, { complete: true });
  const kid: unknown = decoded?.header.kid;
  if (typeof kid !== 'string') throw refused('is malformed');
  return kid;
}

export const refused = (why: string): NexusError => new NexusError('unauthenticated', `the token ${why}; log in again`);
