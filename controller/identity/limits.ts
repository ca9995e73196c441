/**
 * Limits calls that need no token: per address, per account, and in all. Bursts are counted in memory, before anything
 * is written; hourly counts against guessing are kept in the database and so outlive a restart. Accounts are counted by
 * the name in the call, whether such an account exists or not.
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
/** How long an address is remembered as an account's own. */
const KNOWN_MS = 90 * 24 * HOUR_MS;
/**
 * Bounds for calls that anyone can make for any account, from addresses unknown to the account. All these addresses
 * together may make `factor` times `authCallsPerAccountPerHour` calls in an hour; after that, one call each `slowMs`.
 * For registrations that is the time between two mails to somebody who may not want them. Codes need no such bound: the
 * tries of each are limited (otp.ts).
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
  /** As given by the caller, normalised. */
  readonly account: string;
  /** Empty on the admin socket, which has no bound by address. */
  readonly address: string;
}

/** Whether unknown addresses exceed an account's bound in all; if so, `tooEarly` unless the next call is due. */
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

  /** Checks, and counts, whether one more mail may go to the address of a registration. Comes after `admit`. */
  registrationMail(account: string, address: string): Promise<Crowd> {
    return this.#crowdFor({ call: 'registration', account, address }, WIDE.registration);
  }

  async #admitBurst(address: string): Promise<void> {
    if (address === '') return;
    // Checked first and counted last: a new address is remembered only while the total bound is not reached, so that
    // memory is bounded, and a refused address takes no share of the total.
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
   * Called after the right password, whose holder could otherwise have codes sent, and try some of each, without end.
   * Code: resource_exhausted.
   */
  async admitCode(username: string, account: string, address: string): Promise<void> {
    if (await this.#isKnown(account, address)) return;
    const bound = Math.max(1, Math.floor(this.settings.authCallsPerAccountPerHour / 2));
    await this.#count(new Map([[`codes:${username}`, bound]]), { call: 'login', account, address });
  }

  /**
   * Makes the address the account's own: attempts from elsewhere never keep it out. Never rejects: the call that was
   * made is stored already, and its code can't be used again.
   */
  async noteSuccess(accounts: readonly string[], address: string): Promise<void> {
    const keys = accounts.map((account) => knownKey(account, address));
    await afterCommit(this.log, 'note where an account was used', () =>
      this.store.counters.count(keys, this.clock.now(), KNOWN_MS),
    );
  }

  /** Removes the counts of the accounts. */
  async forget(accounts: readonly string[]): Promise<void> {
    for (const account of accounts) await this.store.counters.forget(`:${account}`);
  }

  async #isKnown(account: string, address: string): Promise<boolean> {
    return address === '' || (await this.store.counters.has(knownKey(account, address), this.clock.now()));
  }

  /** Counts per account and address, so that nobody can lock others out. */
  async #admitForHour(attempt: LimitedAttempt): Promise<void> {
    const { call, account, address } = attempt;
    const { authCallsPerAccountPerHour: perAccount, authCallsPerAddressPerHour: perAddress } = this.settings;
    const group = originGroup(address);
    const bounds = new Map([[`account:${call}:${group}:${account}`, perAccount]]);
    if (address !== '') bounds.set(`address:${group}`, perAddress);
    await this.#count(bounds, attempt);
  }

  /**
   * Bounds passwords and registrations for one account from all addresses that never succeeded there. Beyond this wide
   * bound, calls are slowed down, not locked out.
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

  /** Written once per window: a flood must not fill the audit log. */
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
