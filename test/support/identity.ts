/** Identity on fakes: a store in memory, a cheap hasher that counts, a mailbox, a clock that stands still. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../shared/async/clock.js';
import { createLogger, type Logger } from '../../shared/log.js';
import type { Origin, Session } from '../../controller/identity/deps.js';
import { FakeIdentityStore } from '../fakes/identity-store.js';
import { FakeMailer } from '../fakes/mailer.js';
import { IdentityKeys } from '../../controller/identity/keys.js';
import { ScryptHasher } from '../../controller/identity/passwords.js';
import type { IdentityStore, PasswordHasher } from '../../controller/identity/port.js';
import { IdentityUseCases, type IdentityPorts } from '../../controller/identity/use-cases.js';

export const PASSWORD = 'correct horse battery';
export const SOMEBODY: Origin = { actor: '', address: '192.0.2.7' };
export const ADMINISTRATOR: Origin = { actor: 'admin', address: '' };
export const TOKEN_TTL_MS = 24 * 3_600_000;
export const OTP_TTL_MS = 300_000;

/** Counts the work, which stands for the time it takes. */
export class CountingHasher implements PasswordHasher {
  readonly #real = new ScryptHasher({ logN: 4, blockSize: 1, parallelism: 1 });
  readonly decoy = this.#real.decoy;
  hashes = 0;

  hash(password: string): Promise<string> {
    this.hashes += 1;
    return this.#real.hash(password);
  }

  verify(password: string, hash: string): Promise<boolean> {
    this.hashes += 1;
    return this.#real.verify(password, hash);
  }
}

type Settings = IdentityPorts['settings'];

const GENEROUS: Settings = {
  instance: 'test',
  otpTtlMs: OTP_TTL_MS,
  tokenTtlMs: TOKEN_TTL_MS,
  authCallsPerMinute: 100_000,
  authCallsPerAddressPerMinute: 100_000,
  authCallsPerAddressPerHour: 100_000,
  authCallsPerAccountPerHour: 100_000,
};

export class IdentityBench implements AsyncDisposable {
  nowMs = 1_790_000_000_000;
  readonly hasher = new CountingHasher();
  readonly mailer = new FakeMailer();
  readonly clock = { ...systemClock, now: () => this.nowMs };
  readonly identity: IdentityUseCases;

  private constructor(
    readonly folder: string,
    readonly store: IdentityStore,
    readonly keys: IdentityKeys,
    readonly settings: Settings,
    readonly log: Logger,
  ) {
    const { hasher, mailer, clock } = this;
    this.identity = new IdentityUseCases({ store, hasher, mailer, keys, clock, log, settings });
  }

  static async open(
    options: { readonly settings?: Partial<Settings>; readonly store?: IdentityStore; readonly log?: Logger } = {},
  ): Promise<IdentityBench> {
    const folder = await mkdtemp(join(tmpdir(), 'nexus-identity-'));
    // The keys tell the time by the bench's clock, which is not there yet.
    let bench: IdentityBench | undefined = undefined as IdentityBench | undefined;
    const keys = await IdentityKeys.load(join(folder, 'keys.json'), {
      ...systemClock,
      now: () => bench?.nowMs ?? 0,
    });
    bench = new IdentityBench(
      folder,
      options.store ?? new FakeIdentityStore(),
      keys,
      { ...GENEROUS, ...options.settings },
      options.log ?? createLogger('test', 'silent'),
    );
    return bench;
  }

  /** The code in the newest mail to this address. */
  async codeFor(email: string): Promise<string> {
    await this.identity.mails.idle();
    const mail = this.mailer.sent.findLast(({ to }) => to === email);
    const code = /^Code: (\d{6})$/m.exec(mail?.text ?? '')?.[1];
    if (code === undefined) throw new Error(`there is no code for ${email} in ${JSON.stringify(mail)}`);
    return code;
  }

  /** A code that is not the right one. */
  wrong(code: string): string {
    return String((Number(code) + 1) % 1_000_000).padStart(6, '0');
  }

  async register(username: string, email = `${username}@example.org`): Promise<Session> {
    await this.identity.registration.init({ username, email, password: PASSWORD }, SOMEBODY);
    return await this.identity.registration.verify({ email, code: await this.codeFor(email) }, SOMEBODY);
  }

  /** The first step of a login; answers the code. */
  async startLogin(username: string): Promise<string> {
    await this.identity.login.init({ account: username, password: PASSWORD }, SOMEBODY);
    return await this.codeFor(`${username}@example.org`);
  }

  async logIn(username: string): Promise<Session> {
    return await this.identity.login.verify({ account: username, code: await this.startLogin(username) }, SOMEBODY);
  }

  async actions(): Promise<readonly string[]> {
    const lines = await this.store.audit.list({ limit: 1000, before: 0, username: '' });
    return lines.map(({ action }) => action).reverse();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.identity.close();
    await this.store.close();
    await rm(this.folder, { recursive: true });
  }
}
