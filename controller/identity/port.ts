/**
 * Ports of identity: its store (auth.db, apart from the cluster's own state), mail, and password hashes.
 *
 * The store: every write is one transaction, durable when its promise resolves; all writes are serialised. Changes that
 * matter for security take their line of the audit log, so that neither is there without the other. Passwords, codes
 * and tokens never reach it, only hashes and token ids.
 */
import { NexusError } from '../../shared/errors.js';

export type Role = 'user' | 'admin';

export interface UserRecord {
  /** The key; never changes. */
  readonly username: string;
  /** Normalised (rules.ts); unique. */
  readonly email: string;
  /** Includes its parameters and salt (passwords.ts). */
  readonly passwordHash: string;
  readonly role: Role;
  readonly disabled: boolean;
  /** Tokens of an earlier generation are void. */
  readonly tokenGeneration: number;
  /** ms since the epoch. */
  readonly createdAt: number;
}

export type UserPatch = Partial<Pick<UserRecord, 'role' | 'disabled' | 'tokenGeneration'>>;

export type ChallengePurpose = 'registration' | 'login';

/**
 * A code that was sent and not used yet. At most one per purpose, account and origin: a new one replaces the old one,
 * and requests from other origins replace none.
 */
export interface ChallengeRecord {
  readonly purpose: ChallengePurpose;
  /** The mail address for a registration, the user name for a login. */
  readonly account: string;
  /** Random: makes equal codes have different hashes. */
  readonly salt: string;
  readonly codeHash: string;
  /** Group of the address that requested it (address.ts). */
  readonly origin: string;
  /** Codes tried from that origin. */
  readonly attempts: number;
  /** Codes tried from everywhere else. */
  readonly attemptsElsewhere: number;
  readonly expiresAt: number;
  /** Name and password hash of the account to register; empty for a login. */
  readonly username: string;
  readonly passwordHash: string;
}

export interface AuditRecord {
  readonly id: number;
  readonly at: number;
  /** Dotted: login.verified, user.role-changed. */
  readonly action: string;
  /** The account concerned; empty for none. */
  readonly username: string;
  /** The user who did it; empty without a token. */
  readonly actor: string;
  /** Address of the client; empty on the admin socket. */
  readonly address: string;
  readonly detail: string;
}

export type AuditLine = Omit<AuditRecord, 'id'>;

export interface UserStore {
  get(username: string): Promise<UserRecord | undefined>;
  getByEmail(email: string): Promise<UserRecord | undefined>;
  /** Lists by name, after the given one. */
  list(page: { readonly limit: number; readonly after: string }): Promise<readonly UserRecord[]>;
  /** Code: already_exists (name or address). */
  create(user: UserRecord, audit: AuditLine): Promise<void>;
  /**
   * `change` receives the record as it is in the transaction, and the number of other users who could log in as
   * administrators then; an error that it throws undoes the transaction and is passed on. Code: not_found.
   */
  update(
    username: string,
    change: (user: UserRecord, otherAdministrators: number) => UserPatch,
    audit: AuditLine,
  ): Promise<UserRecord>;
}

export interface ChallengeStore {
  /** Replaces the challenge of the same origin. */
  put(challenge: ChallengeRecord, audit: AuditLine): Promise<void>;
  /**
   * Stores it under the newest open code for purpose and account, and returns the expiry of that code; stores nothing
   * and returns undefined if there is none, or `most` origins share it already. Earlier tries of that code from the
   * same origin still count.
   */
  join(
    challenge: Omit<ChallengeRecord, 'salt' | 'codeHash' | 'expiresAt'>,
    bound: { readonly now: number; readonly most: number },
    audit: AuditLine,
  ): Promise<number | undefined>;
  /**
   * Tries a code once: against the challenge of this origin if it has not expired, or else against all others of the
   * account, which admits users who changed networks. In one transaction it counts as an attempt on each that has not
   * expired and has had fewer than `maxAttempts` tries from its own origin, or `maxElsewhere` from all others, so that
   * nobody can use up the owner's tries; then the one that `matches` is used up, with all that share its code, and
   * returned. Of two concurrent tries with the right code one wins. `matches` is called in every case, with undefined
   * if there is nothing to try, so that the work is the same.
   */
  redeem(attempt: {
    readonly purpose: ChallengePurpose;
    readonly account: string;
    readonly now: number;
    readonly origin: string;
    readonly maxAttempts: number;
    readonly maxElsewhere: number;
    readonly matches: (challenge: ChallengeRecord | undefined) => boolean;
    readonly audit: (won: boolean) => AuditLine;
  }): Promise<ChallengeRecord | undefined>;
}

export interface RevocationStore {
  /** Idempotent. Dropped after `expiresAt`, when the token is void anyway. */
  add(tokenId: string, expiresAt: number, audit: AuditLine): Promise<void>;
  has(tokenId: string): Promise<boolean>;
}

export interface Count {
  readonly key: string;
  readonly count: number;
  /** ms since the epoch. */
  readonly resetsAt: number;
}

/** Counters that outlive a restart. */
export interface CounterStore {
  /** Adds one to each key's count and returns all in order; the first count after a window's end begins a new one. */
  count(keys: readonly string[], now: number, windowMs: number): Promise<readonly Count[]>;
  /** True if the key has a count whose window has not ended. */
  has(key: string, now: number): Promise<boolean>;
  /** Drops all keys with this ending. */
  forget(ending: string): Promise<void>;
}

export interface AuditStore {
  /** Appends and trims the log to its bound. */
  append(line: AuditLine): Promise<void>;
  /** Lists newest first, older than `before` (0: from the newest), of one account or (empty) all. */
  list(page: {
    readonly limit: number;
    readonly before: number;
    readonly username: string;
  }): Promise<readonly AuditRecord[]>;
}

export interface IdentityStore {
  readonly users: UserStore;
  readonly challenges: ChallengeStore;
  readonly revocations: RevocationStore;
  readonly counters: CounterStore;
  readonly audit: AuditStore;
  /** Grows with every write: the same number means that nothing has changed. */
  revision(): number;
  /** Drops challenges, revocations and counters that have expired by `now`. */
  purge(now: number): Promise<void>;
  /** Waits for running writes; idempotent. */
  close(): Promise<void>;
  /** Closes the store and removes all its content: for the end of an instance. */
  erase(): Promise<void>;
}

export interface Mail {
  readonly to: string;
  readonly subject: string;
  /** Plain text, lines of at most 78 characters. */
  readonly text: string;
}

export interface Mailer {
  /** Destination of mail, for the log line at start. */
  readonly destination: string;
  /**
   * Resolves when the mail has been accepted for delivery. Called concurrently; ends when the signal is aborted.
   * Codes: unavailable, failed_precondition (refused).
   */
  send(mail: Mail, signal: AbortSignal): Promise<void>;
}

export interface PasswordHasher {
  /** Hash of no password: checking against it takes the same work as against a real one. */
  readonly decoy: string;
  /** Codes: resource_exhausted (too many wait). */
  hash(password: string): Promise<string>;
  verify(password: string, hash: string): Promise<boolean>;
}

/** The store's answer to a name or an address that is taken; a registration gets it only after its code was accepted. */
export const userTaken = (what: 'name' | 'address', value: string): NexusError =>
  new NexusError(
    'already_exists',
    what === 'name'
      ? `there is a user "${value}" already; choose another name`
      : `${value} belongs to an account already; use another address`,
    { field: what === 'name' ? 'username' : 'email' },
  );

export const noSuchUser = (username: string): NexusError =>
  new NexusError('not_found', `there is no user "${username}"`, {}, { advice: { key: 'list-users' } });
