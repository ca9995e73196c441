/** All that identity does, on one set of ports. */
import type { Clock } from '../../shared/async/clock.js';
import type { Logger } from '../../shared/log.js';
import { Administration } from './administration.js';
import type { IdentityDeps, IdentitySettings } from './deps.js';
import type { IdentityKeys, PublicKeyShape } from './keys.js';
import { Limits, type LimitSettings } from './limits.js';
import { Login } from './login.js';
import { MailQueue } from './mail-queue.js';
import type { MailEvents } from './mail-statistics.js';
import { randomCode, type CodeSource } from './otp.js';
import type { IdentityStore, Mailer, PasswordHasher } from './port.js';
import { Registration } from './registration.js';
import { Sessions } from './sessions.js';
import { Tokens } from './tokens.js';

export interface IdentityPorts {
  readonly store: IdentityStore;
  readonly hasher: PasswordHasher;
  readonly mailer: Mailer;
  readonly keys: IdentityKeys;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: IdentitySettings & LimitSettings;
  readonly codes?: CodeSource;
  /** Where failures of mail are told. */
  readonly events?: MailEvents;
}

export class IdentityUseCases {
  readonly registration: Registration;
  readonly login: Login;
  readonly sessions: Sessions;
  readonly administration: Administration;
  readonly mails: MailQueue;

  constructor(private readonly ports: IdentityPorts) {
    const { store, hasher, mailer, keys, clock, log, settings, events, codes = randomCode } = ports;
    const tokens = new Tokens(keys, clock, settings);
    const limits = new Limits(store, settings, clock, log);
    this.mails = new MailQueue({ mailer, log, clock, ...(events === undefined ? {} : { events }) });
    const deps: IdentityDeps = { store, hasher, mails: this.mails, keys, tokens, limits, codes, clock, settings, log };
    this.registration = new Registration(deps);
    this.login = new Login(deps);
    this.sessions = new Sessions(deps);
    this.administration = new Administration(deps);
  }

  publicKeys(): readonly PublicKeyShape[] {
    return this.ports.keys.published();
  }

  /** Drops what has expired; run now and then. */
  async upkeep(): Promise<void> {
    await this.ports.store.purge(this.ports.clock.now());
  }

  async close(): Promise<void> {
    await this.mails.close();
  }
}
