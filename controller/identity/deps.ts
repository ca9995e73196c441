/** Dependencies of the use cases of identity. */
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import type { IdentityKeys } from './keys.js';
import type { Limits } from './limits.js';
import type { MailQueue } from './mail-queue.js';
import type { CodeSource } from './otp.js';
import type { AuditLine, IdentityStore, PasswordHasher } from './port.js';
import type { Tokens } from './tokens.js';

export interface IdentitySettings {
  readonly instance: string;
  readonly otpTtlMs: number;
  readonly tokenTtlMs: number;
}

export interface IdentityDeps {
  readonly store: IdentityStore;
  readonly hasher: PasswordHasher;
  readonly mails: MailQueue;
  readonly keys: IdentityKeys;
  readonly tokens: Tokens;
  readonly limits: Limits;
  readonly codes: CodeSource;
  readonly clock: Clock;
  readonly settings: IdentitySettings;
  readonly log: Logger;
}

/** Origin of a call. */
export interface Origin {
  /** The calling user; empty without a token. */
  readonly actor: string;
  /** Empty on the admin socket. */
  readonly address: string;
}

/** Issued to a user who has logged in or registered. */
export interface Session {
  readonly username: string;
  readonly token: string;
  readonly expiresAt: number;
}

export const auditLine = (clock: Clock, origin: Origin, action: string, username: string, detail = ''): AuditLine => ({
  at: clock.now(),
  action,
  username,
  actor: origin.actor,
  address: origin.address,
  detail,
});

/** One error for a code that was wrong, used, expired, locked or never sent, so that it gives nothing away. */
export const codeRefused = (): NexusError =>
  new NexusError('unauthenticated', 'the code is wrong, was used or has expired; ask for a new one');
