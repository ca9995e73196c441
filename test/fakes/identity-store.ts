/** The identity store in memory, for tests of what stands on it. Keeps the port's promises but durability. */
import { Limit } from '../../shared/async/turns.js';
import { NexusError } from '../../shared/errors.js';
import { MAX_AUDIT_LINES } from '../../controller/identity/bounds.js';
import {
  type AuditLine,
  type AuditRecord,
  type AuditStore,
  type ChallengeRecord,
  type ChallengeStore,
  type Count,
  type CounterStore,
  type IdentityStore,
  type RevocationStore,
  type UserRecord,
  type UserStore,
  noSuchUser,
  userTaken,
} from '../../controller/identity/port.js';
import { firstMatch } from '../../controller/identity/otp.js';
import { canAdminister } from '../../controller/identity/rules.js';

interface Tables {
  readonly users: Map<string, UserRecord>;
  /** By purpose, account and origin. */
  readonly challenges: Map<string, ChallengeRecord>;
  readonly revocations: Map<string, number>;
  readonly counters: Map<string, Count>;
  audit: AuditRecord[];
  lastAuditId: number;
}

type Run = <Result>(work: (tables: Tables) => Result) => Promise<Result>;

export class FakeIdentityStore implements IdentityStore {
  readonly users: UserStore;
  readonly challenges: ChallengeStore;
  readonly revocations: RevocationStore;
  readonly counters: CounterStore;
  readonly audit: AuditStore;
  readonly #writing = new Limit(1);
  #open = true;
  #revision = 0;
  #tables: Tables = {
    users: new Map(),
    challenges: new Map(),
    revocations: new Map(),
    counters: new Map(),
    audit: [],
    lastAuditId: 0,
  };

  constructor() {
    const read: Run = async (work) => {
      this.#assertOpen();
      return structuredClone(work(this.#tables));
    };
    const write: Run = (work) => this.#write(work);
    this.users = fakeUsers(read, write);
    this.challenges = fakeChallenges(write);
    this.revocations = fakeRevocations(read, write);
    this.counters = fakeCounters(read, write);
    this.audit = fakeAudit(read, write);
  }

  revision(): number {
    return this.#revision;
  }

  /** On a copy that takes the place of the tables when all went well: a transaction in miniature. */
  #write<Result>(work: (tables: Tables) => Result): Promise<Result> {
    return this.#writing.run(async () => {
      this.#assertOpen();
      const draft = structuredClone(this.#tables);
      const result = work(draft);
      // What is written is seen later than it was asked for, as on a disk.
      await Promise.resolve();
      this.#tables = draft;
      this.#revision += 1;
      return structuredClone(result);
    });
  }

  async purge(now: number): Promise<void> {
    await this.#write(({ challenges, revocations, counters }) => {
      for (const [key, { expiresAt }] of challenges) if (expiresAt <= now) challenges.delete(key);
      for (const [key, expiresAt] of revocations) if (expiresAt <= now) revocations.delete(key);
      for (const [key, { resetsAt }] of counters) if (resetsAt <= now) counters.delete(key);
    });
  }

  erase(): Promise<void> {
    return this.close();
  }

  close(): Promise<void> {
    return this.#writing.run(async () => {
      this.#open = false;
    });
  }

  #assertOpen(): void {
    if (!this.#open) throw new NexusError('unavailable', 'the store is closed: the controller is stopping');
  }
}

function append(tables: Tables, line: AuditLine): void {
  tables.lastAuditId += 1;
  tables.audit = [...tables.audit, { id: tables.lastAuditId, ...line }].slice(-MAX_AUDIT_LINES);
}

const byName = (one: UserRecord, other: UserRecord): number => (one.username < other.username ? -1 : 1);

const fakeUsers = (read: Run, write: Run): UserStore => ({
  get: (username) => read(({ users }) => users.get(username)),
  getByEmail: (email) => read(({ users }) => [...users.values()].find((user) => user.email === email)),
  list: ({ limit, after }) =>
    read(({ users }) =>
      [...users.values()]
        .filter((user) => user.username > after)
        .sort(byName)
        .slice(0, limit),
    ),
  create: (user, audit) =>
    write((tables) => {
      if (tables.users.has(user.username)) throw userTaken('name', user.username);
      if ([...tables.users.values()].some(({ email }) => email === user.email)) throw userTaken('address', user.email);
      tables.users.set(user.username, user);
      append(tables, audit);
    }),
  update: (username, change, audit) =>
    write((tables) => {
      const before = tables.users.get(username);
      if (before === undefined) throw noSuchUser(username);
      const others = [...tables.users.values()].filter((user) => user.username !== username && canAdminister(user));
      const after = { ...before, ...change(before, others.length) };
      tables.users.set(username, after);
      append(tables, audit);
      return after;
    }),
});

const keyOf = ({ purpose, account, origin }: Pick<ChallengeRecord, 'purpose' | 'account' | 'origin'>): string =>
  `${purpose} ${account} ${origin}`;

const fakeChallenges = (write: Run): ChallengeStore => ({
  put: (challenge, audit) =>
    write((tables) => {
      tables.challenges.set(keyOf(challenge), challenge);
      append(tables, audit);
    }),
  join: (challenge, { now, most }, audit) =>
    write((tables) => {
      const open = openOnes(tables, challenge, now);
      const newest = open.sort((one, other) => other.expiresAt - one.expiresAt)[0];
      if (newest === undefined) return undefined;
      const { salt, codeHash, expiresAt } = newest;
      const sharers = open.filter((one) => one.codeHash === codeHash);
      const own = sharers.find(({ origin }) => origin === challenge.origin);
      if (own === undefined && sharers.length > most) return undefined;
      const tries = own === undefined ? {} : { attempts: own.attempts, attemptsElsewhere: own.attemptsElsewhere };
      tables.challenges.set(keyOf(challenge), { ...challenge, salt, codeHash, expiresAt, ...tries });
      append(tables, audit);
      return expiresAt;
    }),
  redeem: ({ purpose, account, now, origin, maxAttempts, maxElsewhere, matches, audit }) =>
    write((tables) => {
      const open = openOnes(tables, { purpose, account }, now);
      const own = open.filter((one) => one.origin === origin);
      const counted =
        own.length > 0
          ? own.filter(({ attempts }) => attempts < maxAttempts).map((one) => ({ ...one, attempts: one.attempts + 1 }))
          : open
              .filter(({ attemptsElsewhere }) => attemptsElsewhere < maxElsewhere)
              .map((one) => ({ ...one, attemptsElsewhere: one.attemptsElsewhere + 1 }));
      for (const one of counted) tables.challenges.set(keyOf(one), one);
      const won = firstMatch(counted, matches);
      if (won !== undefined) {
        for (const one of openOnes(tables, won, now))
          if (one.codeHash === won.codeHash) tables.challenges.delete(keyOf(one));
      }
      append(tables, audit(won !== undefined));
      return won;
    }),
});

const openOnes = (
  { challenges }: Tables,
  { purpose, account }: Pick<ChallengeRecord, 'purpose' | 'account'>,
  now: number,
): ChallengeRecord[] =>
  [...challenges.values()].filter((one) => one.purpose === purpose && one.account === account && one.expiresAt > now);

const fakeRevocations = (read: Run, write: Run): RevocationStore => ({
  add: (tokenId, expiresAt, audit) =>
    write((tables) => {
      if (tables.revocations.has(tokenId)) return;
      tables.revocations.set(tokenId, expiresAt);
      append(tables, audit);
    }),
  has: (tokenId) => read(({ revocations }) => revocations.has(tokenId)),
});

const fakeCounters = (read: Run, write: Run): CounterStore => ({
  has: (key, now) => read(({ counters }) => (counters.get(key)?.resetsAt ?? 0) > now),
  forget: (ending) =>
    write(({ counters }) => {
      for (const key of counters.keys()) if (key.endsWith(ending)) counters.delete(key);
    }),
  count: (keys, now, windowMs) =>
    write(({ counters }) =>
      keys.map((key) => {
        const before = counters.get(key);
        const isOver = before === undefined || before.resetsAt <= now;
        const after = isOver ? { key, count: 1, resetsAt: now + windowMs } : { ...before, count: before.count + 1 };
        counters.set(key, after);
        return after;
      }),
    ),
});

const fakeAudit = (read: Run, write: Run): AuditStore => ({
  append: (line) => write((tables) => append(tables, line)),
  list: ({ limit, before, username }) =>
    read(({ audit }) =>
      audit
        .filter((line) => (before === 0 || line.id < before) && (username === '' || line.username === username))
        .reverse()
        .slice(0, limit),
    ),
});
