/**
 * What identity keeps on disk (auth.db, apart from the cluster's own state), and how it reaches people.
 *
 * The store: every write is one transaction, durable when its promise resolves; all writes are serialised. What matters
 * for security is written together with its line in the audit log, so that neither is there without the other.
 * Neither passwords nor codes nor tokens reach it, only hashes and token ids.
 */

export type Role = 'user' | 'admin';

export interface UserRecord {
  /** The key; never changes. */
  readonly username: string;
  /** Normalised (rules.ts); unique. */
  readonly email: string;
  /** With its parameters and salt (passwords.ts). */
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
 * A code that was sent and is waited for. One at most per purpose, account and origin: a new one takes the old one's
 * place, and what strangers ask for takes nobody's.
 */
export interface ChallengeRecord {
  readonly purpose: ChallengePurpose;
  /** The mail address for a registration, the user name for a login. */
  readonly account: string;
  /** Random: makes equal codes have different hashes. */
  readonly salt: string;
  readonly codeHash: string;
  /** Where it was asked from (address.ts). */
  readonly origin: string;
  /** Codes that were tried from there. */
  readonly attempts: number;
  /** And from everywhere else. */
  readonly attemptsElsewhere: number;
  readonly expiresAt: number;
  /** What a registration is to become; empty for a login. */
  readonly username: string;
  readonly passwordHash: string;
}

export interface AuditRecord {
  readonly id: number;
  readonly at: number;
  /** Dotted: login.verified, user.role-changed. */
  readonly action: string;
  /** Whose account; empty when it is nobody's. */
  readonly username: string;
  /** Who did it; empty for somebody without a token. */
  readonly actor: string;
  /** Of the client; empty on the admin socket. */
  readonly address: string;
  readonly detail: string;
}

export type AuditLine = Omit<AuditRecord, 'id'>;

export interface UserStore {
  get(username: string): Promise<UserRecord | undefined>;
  getByEmail(email: string): Promise<UserRecord | undefined>;
  /** By name, after the given one. */
  list(page: { readonly limit: number; readonly after: string }): Promise<readonly UserRecord[]>;
  /** Code: already_exists (name or address). */
  create(user: UserRecord, audit: AuditLine): Promise<void>;
  /**
   * `change` sees the record as it is in the transaction, and how many others could log in as administrators then; what it
   * throws undoes the transaction and is passed on. Code: not_found.
   */
  update(
    username: string,
    change: (user: UserRecord, otherAdministrators: number) => UserPatch,
    audit: AuditLine,
  ): Promise<UserRecord>;
}

export interface ChallengeStore {
  /** In place of the one from the same origin. */
  put(challenge: ChallengeRecord, audit: AuditLine): Promise<void>;
  /**
   * Stores it under the newest code that is open for purpose and account, whose expiry it answers; undefined, and nothing
   * is stored, where there is none or as many as `most` origins share it already. Tries that were made of that code from
   * the same origin go on to count.
   */
  join(
    challenge: Omit<ChallengeRecord, 'salt' | 'codeHash' | 'expiresAt'>,
    bound: { readonly now: number; readonly most: number },
    audit: AuditLine,
  ): Promise<number | undefined>;
  /**
   * One try: of the challenge of this origin if it has not expired, or else of all others of the account: who changed
   * networks meanwhile gets in. In one transaction it counts as an attempt of each that has not expired and of which fewer
   * than `maxAttempts` were made from where it was asked for, or `maxElsewhere` from all other places: nobody can use up
   * the tries of its owner; then the one that `matches` is used up, with all that share its code, and returned. Of two
   * tries at once with the right code one wins. `matches` is called in every case, with undefined where there is nothing
   * to try: the caller does the same work.
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
  /** Twice is once. Forgotten after `expiresAt`, when the token is void anyway. */
  add(tokenId: string, expiresAt: number, audit: AuditLine): Promise<void>;
  has(tokenId: string): Promise<boolean>;
}

export interface Count {
  readonly key: string;
  readonly count: number;
  /** ms since the epoch. */
  readonly resetsAt: number;
}

/** Counts that outlive a restart. */
export interface CounterStore {
  /** Adds one to each key's count; a window begins with the first one after the last window's end. Answers in order. */
  count(keys: readonly string[], now: number, windowMs: number): Promise<readonly Count[]>;
  /** Whether the key has a count whose window has not ended. */
  has(key: string, now: number): Promise<boolean>;
  /** Forgets all keys that end so. */
  forget(ending: string): Promise<void>;
}

export interface AuditStore {
  /** Appends and trims the log to its bound. */
  append(line: AuditLine): Promise<void>;
  /** Newest first, older than `before` (0: from the newest), of one account or (empty) all. */
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
  /** Closes it and removes all that it holds: for the end of an instance. */
  erase(): Promise<void>;
}

export interface Mail {
  readonly to: string;
  readonly subject: string;
  /** Plain text, lines of at most 78 characters. */
  readonly text: string;
}

export interface Mailer {
  /** Where mail goes, for the log line at start. */
  readonly destination: string;
  /** Resolves when the mail is in other hands. Called several times at once; gives up when the signal is aborted. Codes: unavailable, failed_precondition (refused). */
  send(mail: Mail, signal: AbortSignal): Promise<void>;
}

export interface PasswordHasher {
  /** The hash of no password: checking against it takes the same work. */
  readonly decoy: string;
  /** Codes: resource_exhausted (too many wait). */
  hash(password: string): Promise<string>;
  verify(password: string, hash: string): Promise<boolean>;
}
