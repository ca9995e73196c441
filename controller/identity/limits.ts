/**
 * How often the calls that need no token may be made: by one address, for one account, and by everybody. Bursts are
 * counted in memory, before anything is written; what keeps a guesser out for an hour is counted in the database and so
 * outlives a restart. Accounts are counted by what the caller wrote, whether such an account exists or not.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { afterCommit } from '../file/after-commit.js';
import { addressGroup, originGroup } from './address.js';
import type { Count, IdentityStore } from './port.js';

const HOUR_MS = 3_600_000;
const MINUTE_SECONDS = 60;
const EVERYBODY = 'everybody';
/** For which an address is remembered as an account's own. */
const KNOWN_MS = 90 * 24 * HOUR_MS;
/**
 * Of calls that anybody can make for any account: how often the bound of one address they may be made from all strange
 * addresses in an hour, and the time between two of them after that. For registrations that is the time between two mails
 * to somebody who may not want them. Codes need none: how many can be tried of each is bounded with the code itself
 * (otp.ts).
 */
const WIDE = {
  login: { factor: 10, slowMs: 30_000 },
  registration: { factor: 1, slowMs: 300_000 },
};

export interface LimitSettings {
  readonly authCallsPerMinute: number;
  readonly authCallsPerAddressPerMinute: number;
  readonly authCallsPerAddressPerHour: number;
  readonly authCallsPerAccountPerHour: number;
}

export type LimitedCall = 'registration' | 'login' | 'registration-code' | 'login-code';

export interface LimitedAttempt {
  readonly call: LimitedCall;
  /** As the caller wrote it, normalised. */
  readonly account: string;
  /** Empty on the admin socket, which has no bound by address. */
  readonly address: string;
}

/** Whether strangers ask for an account too often in all; and then, whether it is too early for the next of them. */
export interface Crowd {
  readonly isCrowded: boolean;
  readonly tooEarly?: NexusError;
}

export class Limits {
  readonly #everybody: RateLimiterMemory;
  readonly #perAddress: RateLimiterMemory;

  constructor(
    private readonly store: Pick<IdentityStore, 'counters' | 'audit'>,
    private readonly settings: LimitSettings,
    private readonly clock: Clock,
    private readonly log: Logger,
  ) {
    this.#everybody = new RateLimiterMemory({ points: settings.authCallsPerMinute, duration: MINUTE_SECONDS });
    this.#perAddress = new RateLimiterMemory({
      points: settings.authCallsPerAddressPerMinute,
      duration: MINUTE_SECONDS,
    });
  }

  /** Counts the attempt. Code: resource_exhausted, with `retry_after_ms`. */
  async admit(attempt: LimitedAttempt): Promise<void> {
    await this.#admitBurst(attempt.address);
    await this.#admitForHour(attempt);
    if (attempt.call !== 'login') return;
    const { tooEarly } = await this.#crowdFor(attempt, WIDE.login);
    if (tooEarly !== undefined) throw tooEarly;
  }

  /** Whether one more mail may go to where a registration was asked for; counts it. Comes after `admit`. */
  registrationMail(account: string, address: string): Promise<Crowd> {
    return this.#crowdFor({ call: 'registration', account, address }, WIDE.registration);
  }

  async #admitBurst(address: string): Promise<void> {
    if (address === '') return;
    // Looked at first and counted last: a new address is remembered only while there is room for everybody, so that
    // the memory is bounded, and an address that is refused takes no room from the others.
    const everybody = await this.#everybody.get(EVERYBODY);
    if (everybody !== null && everybody.remainingPoints <= 0) throw tooMany('from everywhere', everybody.msBeforeNext);
    await this.#consume(this.#perAddress, addressGroup(address), 'from this address');
    await this.#consume(this.#everybody, EVERYBODY, 'from everywhere');
  }

  async #consume(limiter: RateLimiterMemory, key: string, where: string): Promise<void> {
    try {
      await limiter.consume(key);
    } catch (result) {
      if (!(result instanceof RateLimiterRes)) throw result;
      if (result.consumedPoints === limiter.points + 1) this.log.warn({ key }, `too many identity calls ${where}`);
      throw tooMany(where, result.msBeforeNext);
    }
  }

  /**
   * After the right password: whoever has it could otherwise have codes sent, and try some of each, without end.
   * Code: resource_exhausted.
   */
  async admitCode(username: string, account: string, address: string): Promise<void> {
    if (await this.#isKnown(account, address)) return;
    const bound = Math.max(1, Math.floor(this.settings.authCallsPerAccountPerHour / 2));
    await this.#count(new Map([[`codes:${username}`, bound]]), { call: 'login', account, address });
  }

  /**
   * The address is the account's own from now on: what others try there never keeps it out. Never rejects: it comes after
   * what the caller asked for, which is stored, and a code is good for once.
   */
  async noteSuccess(accounts: readonly string[], address: string): Promise<void> {
    const keys = accounts.map((account) => knownKey(account, address));
    await afterCommit(this.log, 'note where an account was used', () =>
      this.store.counters.count(keys, this.clock.now(), KNOWN_MS),
    );
  }

  /** Takes back what was counted for the account. */
  async forget(accounts: readonly string[]): Promise<void> {
    for (const account of accounts) await this.store.counters.forget(`:${account}`);
  }

  async #isKnown(account: string, address: string): Promise<boolean> {
    return address === '' || (await this.store.counters.has(knownKey(account, address), this.clock.now()));
  }

  /** For one account from one address, so that nobody shuts anybody else out. */
  async #admitForHour(attempt: LimitedAttempt): Promise<void> {
    const { call, account, address } = attempt;
    const { authCallsPerAccountPerHour: perAccount, authCallsPerAddressPerHour: perAddress } = this.settings;
    const group = originGroup(address);
    const bounds = new Map([[`account:${call}:${group}:${account}`, perAccount]]);
    if (address !== '') bounds.set(`address:${group}`, perAddress);
    await this.#count(bounds, attempt);
  }

  /**
   * For passwords and registrations from addresses that were never successful there: a wide bound on the account, beyond
   * which they are slowed down and not locked.
   */
  async #crowdFor(attempt: LimitedAttempt, wide: { readonly factor: number; readonly slowMs: number }): Promise<Crowd> {
    const { call, account, address } = attempt;
    if (await this.#isKnown(account, address)) return { isCrowded: false };
    const { counters } = this.store;
    const now = this.clock.now();
    const [all] = await counters.count([`everywhere:${call}:${account}`], now, HOUR_MS);
    const most = wide.factor * this.settings.authCallsPerAccountPerHour;
    if (all === undefined || all.count <= most) return { isCrowded: false };
    await this.#auditFirst([all], new Map([[all.key, most]]), attempt, now);
    const [slow] = await counters.count([`slow:${call}:${account}`], now, wide.slowMs);
    const isFirst = slow === undefined || slow.count <= 1;
    return { isCrowded: true, ...(isFirst ? {} : { tooEarly: tooMany('for this account', slow.resetsAt - now) }) };
  }

  async #count(bounds: ReadonlyMap<string, number>, attempt: LimitedAttempt): Promise<void> {
    const now = this.clock.now();
    const counts = await this.store.counters.count([...bounds.keys()], now, HOUR_MS);
    const over = counts.filter(({ key, count }) => count > (bounds.get(key) ?? 0));
    const [first] = over;
    if (first === undefined) return;
    await this.#auditFirst(over, bounds, attempt, now);
    const retryAfterMs = Math.max(...over.map((count) => count.resetsAt - now));
    throw tooMany(first.key.startsWith('address:') ? 'from this address' : 'for this account', retryAfterMs);
  }

  /** Once per window: a flood must not fill the audit log. */
  async #auditFirst(
    over: readonly Count[],
    bounds: ReadonlyMap<string, number>,
    { call, address }: LimitedAttempt,
    at: number,
  ): Promise<void> {
    if (!over.some(({ key, count }) => count === (bounds.get(key) ?? 0) + 1)) return;
    await this.store.audit.append({ at, action: 'limit.reached', username: '', actor: '', address, detail: call });
  }
}

const knownKey = (account: string, address: string): string => `known:${account}:${originGroup(address)}`;

function tooMany(where: string, retryAfterMs: number): NexusError {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return new NexusError('resource_exhausted', `too many attempts ${where}; try again in ${seconds} s`, {
    retry_after_ms: seconds * 1000,
  });
}
