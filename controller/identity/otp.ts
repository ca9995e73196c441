/**
 * One-time codes: six digits from the system's random source, sent by mail and kept only as a keyed hash. Six digits
 * are no secret to whoever can hash them all: without the key, which lies outside the database, a stolen row tells nothing.
 */
import { createHmac, randomBytes, randomInt, timingSafeEqual } from 'node:crypto';
import type { ChallengePurpose, ChallengeRecord } from './port.js';

const CODE_DIGITS = 6;
export const CODE_PATTERN = /^\d{6}$/;

/** Randomness as a parameter, so that tests can know the code. */
export type CodeSource = () => string;

export const randomCode: CodeSource = () =>
  randomInt(10 ** CODE_DIGITS)
    .toString()
    .padStart(CODE_DIGITS, '0');

type Hashed = Pick<ChallengeRecord, 'salt' | 'codeHash'>;

/** Bound to purpose and account: a row that is copied to another account opens nothing. */
function hashCode(key: Uint8Array, purpose: ChallengePurpose, account: string, salt: string, code: string): Buffer {
  return createHmac('sha256', key).update([purpose, account, salt, code].join('\n')).digest();
}

export function sealCode(key: Uint8Array, purpose: ChallengePurpose, account: string, code: string): Hashed {
  const salt = randomBytes(16).toString('hex');
  return { salt, codeHash: hashCode(key, purpose, account, salt, code).toString('hex') };
}

/** No code opens it: stored where none may, so that the work and the rows are the same. */
export const unopenable = (): Hashed => ({
  salt: randomBytes(16).toString('hex'),
  codeHash: randomBytes(32).toString('hex'),
});

/** In constant time; against a decoy where there is no challenge, which never opens. */
export function opens(
  key: Uint8Array,
  purpose: ChallengePurpose,
  account: string,
  code: string,
  challenge: Hashed | undefined,
): boolean {
  const hashed = challenge ?? unopenable();
  const given = hashCode(key, purpose, account, hashed.salt, code);
  return timingSafeEqual(given, Buffer.from(hashed.codeHash, 'hex')) && challenge !== undefined;
}

/** Asks about nothing, too, where there is nothing to ask about: for the same work. */
export function firstMatch(
  challenges: readonly ChallengeRecord[],
  matches: (challenge: ChallengeRecord | undefined) => boolean,
): ChallengeRecord | undefined {
  if (challenges.length === 0) matches(undefined);
  return challenges.find(matches);
}
