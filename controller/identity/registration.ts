/**
 * Registration in two steps. The first stores what the account is to be and mails a code; only the second makes the
 * account, so that a name is taken by nobody who can't read the address. Taken names and addresses get the same answer
 * after the same work; the mail tells whoever reads the address.
 *
 * Anybody can register with anybody's address. Requests are stored by account and origin address, so that a stranger's does
 * not replace the owner's. When the limit of mails to an address is reached, a further request shares the code of the last
 * mail: the owner gets in with that code, and gets the account that was requested from the same origin.
 */
import {
  MAX_CODE_ATTEMPTS,
  MAX_CODE_ATTEMPTS_ELSEWHERE,
  MAX_CODE_SHARERS,
  MAX_SHARED_CODE_ATTEMPTS,
} from './bounds.js';
import { NexusError } from '../../shared/errors.js';
import { originGroup } from './address.js';
import { auditLine, codeRefused, type IdentityDeps, type Origin, type Session } from './deps.js';
import type { Crowd } from './limits.js';
import { addressTakenMail, crowdedRegistrationMail, nameTakenMail, registrationMail } from './mails.js';
import { opens, sealCode, unopenable } from './otp.js';
import type { AuditLine, ChallengeRecord, Mail } from './port.js';
import { isReserved, passwordComplaint } from './rules.js';

/** Checked by the edge for form; the address is normalised. */
export interface RegistrationRequest {
  readonly username: string;
  readonly email: string;
  readonly password: string;
}

export class Registration {
  constructor(private readonly deps: IdentityDeps) {}

  /** Answers when the code expires, ms since the epoch. Codes: invalid_argument, resource_exhausted, unavailable. */
  async init(request: RegistrationRequest, origin: Origin): Promise<number> {
    const { store, hasher, mails, limits, clock, settings } = this.deps;
    const { username, email, password } = request;
    assertAcceptable(request);
    await limits.admit({ call: 'registration', account: email, address: origin.address });
    using place = mails.reserve();
    const passwordHash = await hasher.hash(password);
    const isAddressTaken = (await store.users.getByEmail(email)) !== undefined;
    const isNameTaken = (await store.users.get(username)) !== undefined;
    const crowd = await limits.registrationMail(email, origin.address);
    const detail = isAddressTaken ? 'the address has an account' : isNameTaken ? 'the name is taken' : '';
    const audit = auditLine(clock, origin, 'registration.requested', username, detail);
    const asked = { purpose: 'registration', account: email, origin: originGroup(origin.address) } as const;
    if (crowd.tooEarly !== undefined)
      return await this.#share({ ...asked, username, passwordHash }, crowd.tooEarly, audit);
    const code = this.deps.codes();
    const sealed = sealCode(this.deps.keys.codeKey, 'registration', email, code);
    // A name that is taken refuses the registration at its end where others are to share the code.
    const isRefused = isAddressTaken || (isNameTaken && !crowd.isCrowded);
    const challenge: ChallengeRecord = {
      ...asked,
      ...(isRefused ? unopenable() : sealed),
      attempts: 0,
      attemptsElsewhere: 0,
      expiresAt: clock.now() + settings.otpTtlMs,
      username,
      passwordHash,
    };
    await store.challenges.put(challenge, audit);
    place.post(this.#mail(request, code, { isAddressTaken, isNameTaken, ...crowd }));
    return challenge.expiresAt;
  }

  /** Under the code that was mailed last, or `otherwise` where there is none or too many share it. */
  async #share(
    asked: Pick<ChallengeRecord, 'purpose' | 'account' | 'origin' | 'username' | 'passwordHash'>,
    otherwise: NexusError,
    audit: AuditLine,
  ): Promise<number> {
    const { store, clock } = this.deps;
    const expiresAt = await store.challenges.join(
      {
        ...asked,
        attempts: MAX_CODE_ATTEMPTS - MAX_SHARED_CODE_ATTEMPTS,
        attemptsElsewhere: MAX_CODE_ATTEMPTS_ELSEWHERE,
      },
      { now: clock.now(), most: MAX_CODE_SHARERS },
      audit,
    );
    if (expiresAt === undefined) throw otherwise;
    return expiresAt;
  }

  /** Makes the account. Codes: unauthenticated, already_exists (the name was taken meanwhile), resource_exhausted. */
  async verify(request: { readonly email: string; readonly code: string }, origin: Origin): Promise<Session> {
    const { store, limits, clock, keys, tokens } = this.deps;
    const { email, code } = request;
    await limits.admit({ call: 'registration-code', account: email, address: origin.address });
    const now = clock.now();
    const challenge = await store.challenges.redeem({
      purpose: 'registration',
      account: email,
      now,
      origin: originGroup(origin.address),
      maxAttempts: MAX_CODE_ATTEMPTS,
      maxElsewhere: MAX_CODE_ATTEMPTS_ELSEWHERE,
      matches: (found) => opens(keys.codeKey, 'registration', email, code, found),
      audit: (won) => auditLine(clock, origin, won ? 'registration.code-accepted' : 'registration.code-refused', ''),
    });
    if (challenge === undefined) throw codeRefused();
    const { username, passwordHash } = challenge;
    const user = { username, email, passwordHash, role: 'user', disabled: false, tokenGeneration: 0 } as const;
    await store.users.create(
      { ...user, createdAt: now },
      auditLine(clock, origin, 'registration.verified', user.username),
    );
    await limits.noteSuccess([user.username, user.email], origin.address);
    return { username: user.username, ...tokens.issue(user) };
  }

  #mail(
    request: RegistrationRequest,
    code: string,
    {
      isAddressTaken,
      isNameTaken,
      isCrowded,
    }: Crowd & { readonly isAddressTaken: boolean; readonly isNameTaken: boolean },
  ): Mail {
    const { username, email: to } = request;
    const { instance, otpTtlMs: ttlMs } = this.deps.settings;
    if (isAddressTaken) return addressTakenMail(to, instance);
    if (isCrowded) return crowdedRegistrationMail({ to, instance, code, ttlMs });
    if (isNameTaken) return nameTakenMail(to, instance, username);
    return registrationMail({ to, instance, username, code, ttlMs });
  }
}

/** Code: invalid_argument. The answer is the same whether or not the account exists. */
function assertAcceptable({ username, email, password }: RegistrationRequest): void {
  if (isReserved(username)) {
    throw new NexusError('invalid_argument', `username: "${username}" is reserved; choose another`, {
      field: 'username',
    });
  }
  const complaint = passwordComplaint(password, username, email);
  if (complaint !== undefined) {
    throw new NexusError('invalid_argument', `password: ${complaint}`, { field: 'password' });
  }
}
