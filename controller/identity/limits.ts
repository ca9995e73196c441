/**
 * How often the calls that need no token may be made: by one address, for one account, and by everybody. Bursts are
 * counted in memory, before anything is written; what keeps a guesser out for an hour is counted in the database and so
 * outlives a restart. Accounts are counted by what the caller wrote, whether such an account exists or not.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Clock } from '../../shared/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import { addressGroup } from './address.js';
import type { Count, IdentityStore } from './port.js';

const HOUR_MS = 3_600_000;
const MINUTE_SECONDS = 60;
const EVERYBODY = 'everybody';

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

  async #admitForHour(attempt: LimitedAttempt): Promise<void> {
    const { call, account, address } = attempt;
    const bounds = new Map([[`account:${call}:${account}`, this.settings.authCallsPerAccountPerHour]]);
    if (address !== '') bounds.set(`address:${addressGroup(address)}`, this.settings.authCallsPerAddressPerHour);
    const now = this.clock.now();
    const counts = await this.store.counters.count([...bounds.keys()], now, HOUR_MS);
    const over = counts.filter(({ key, count }) => count > (bounds.get(key) ?? 0));
    const [first] = over;
    if (first === undefined) return;
    await this.#auditFirst(over, bounds, attempt, now);
    const retryAfterMs = Math.max(...over.map((count) => count.resetsAt - now));
    throw tooMany(first.key.startsWith('account:') ? 'for this account' : 'from this address', retryAfterMs);
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

function tooMany(where: string, retryAfterMs: number): NexusError {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return new NexusError('resource_exhausted', `too many attempts ${where}; try again in ${seconds} s`, {
    retry_after_ms: seconds * 1000,
  });
}
