/**
 * Login in two steps: the password, then the code from the mail. Unknown accounts, wrong passwords and disabled accounts
 * get the same answer after the same work.
 */
import { MAX_CODE_ATTEMPTS, MAX_CODE_ATTEMPTS_ELSEWHERE } from './bounds.js';
import { NexusError } from '../../shared/errors.js';
import { originGroup } from './address.js';
import { auditLine, codeRefused, type IdentityDeps, type Origin, type Session } from './deps.js';
import { loginMail } from './mails.js';
import { opens, sealCode } from './otp.js';
import type { UserRecord } from './port.js';

export class Login {
  constructor(private readonly deps: IdentityDeps) {}

  /**
   * `account` is a user name or a normalised address. Answers when the code expires, ms since the epoch.
   * Codes: unauthenticated, resource_exhausted, unavailable.
   */
  async init(request: { readonly account: string; readonly password: string }, origin: Origin): Promise<number> {
    const { store, hasher, mails, limits, clock, settings, keys } = this.deps;
    await limits.admit({ call: 'login', account: request.account, address: origin.address });
    using place = mails.reserve();
    const user = await this.#find(request.account);
    const isRight = await hasher.verify(request.password, user?.passwordHash ?? hasher.decoy);
    if (user === undefined || !isRight || user.disabled) {
      const why = user === undefined ? 'no such account' : isRight ? 'disabled' : 'wrong password';
      await store.audit.append(auditLine(clock, origin, 'login.refused', user?.username ?? '', why));
      throw new NexusError('unauthenticated', 'the user name or the password is wrong');
    }
    const { username, email: to } = user;
    await limits.admitCode(username, request.account, origin.address);
    const code = this.deps.codes();
    const expiresAt = clock.now() + settings.otpTtlMs;
    const sealed = sealCode(keys.codeKey, 'login', username, code);
    await store.challenges.put(
      {
        purpose: 'login',
        account: username,
        ...sealed,
        origin: originGroup(origin.address),
        attempts: 0,
        attemptsElsewhere: 0,
        expiresAt,
        username: '',
        passwordHash: '',
      },
      auditLine(clock, origin, 'login.code-sent', username),
    );
    place.post(loginMail({ to, instance: settings.instance, username, code, ttlMs: settings.otpTtlMs }));
    return expiresAt;
  }

  /** Codes: unauthenticated, resource_exhausted. */
  async verify(request: { readonly account: string; readonly code: string }, origin: Origin): Promise<Session> {
    const { store, limits, clock, keys, tokens } = this.deps;
    await limits.admit({ call: 'login-code', account: request.account, address: origin.address });
    const user = await this.#find(request.account);
    const account = user?.username ?? request.account;
    const isWelcome = user !== undefined && !user.disabled;
    const challenge = await store.challenges.redeem({
      purpose: 'login',
      account,
      now: clock.now(),
      origin: originGroup(origin.address),
      maxAttempts: MAX_CODE_ATTEMPTS,
      maxElsewhere: MAX_CODE_ATTEMPTS_ELSEWHERE,
      matches: (found) => opens(keys.codeKey, 'login', account, request.code, found) && isWelcome,
      audit: (won) => auditLine(clock, origin, won ? 'login.verified' : 'login.code-refused', user?.username ?? ''),
    });
    if (challenge === undefined || user === undefined) throw codeRefused();
    await limits.noteSuccess([user.username, user.email], origin.address);
    return { username: user.username, ...tokens.issue(user) };
  }

  async #find(account: string): Promise<UserRecord | undefined> {
    const { users } = this.deps.store;
    return account.includes('@') ? await users.getByEmail(account) : await users.get(account);
  }
}
