/** The identity store in memory, for tests of what stands on it. Keeps the port's promises but durability. */
import { Mutex } from 'async-mutex';
import { NexusError } from '../../shared/errors.js';
import { MAX_AUDIT_LINES } from '../../controller/identity/bounds.js';
import type {
  AuditLine,
  AuditRecord,
  AuditStore,
  ChallengeRecord,
  ChallengeStore,
  Count,
  CounterStore,
  IdentityStore,
  RevocationStore,
  UserRecord,
  UserStore,
} from '../../controller/identity/port.js';
import { canAdminister } from '../../controller/identity/rules.js';
import { noSuchUser, userTaken } from '../../controller/identity/user-errors.js';

interface Tables {
  readonly users: Map<string, UserRecord>;
  /** By purpose and account. */
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
  readonly #writing = new Mutex();
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
    return this.#writing.runExclusive(async () => {
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
    return this.#writing.runExclusive(() => {
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

const fakeChallenges = (write: Run): ChallengeStore => ({
  put: (challenge, audit) =>
    write((tables) => {
      tables.challenges.set(`${challenge.purpose} ${challenge.account}`, challenge);
      append(tables, audit);
    }),
  redeem: ({ purpose, account, now, origin, maxAttempts, maxElsewhere, matches, audit }) =>
    write((tables) => {
      const key = `${purpose} ${account}`;
      const found = tables.challenges.get(key);
      const isOwn = found?.origin === origin;
      const isLeft = isOwn ? found.attempts < maxAttempts : (found?.attemptsElsewhere ?? 0) < maxElsewhere;
      const isOpen = found !== undefined && found.expiresAt > now && isLeft;
      const counted = isOwn
        ? { attempts: found.attempts + 1 }
        : { attemptsElsewhere: (found?.attemptsElsewhere ?? 0) + 1 };
      const open = isOpen ? { ...found, ...counted } : undefined;
      if (open !== undefined) tables.challenges.set(key, open);
      const isRight = matches(open);
      const won = isRight && open !== undefined;
      if (won) tables.challenges.delete(key);
      append(tables, audit(won));
      return won ? open : undefined;
    }),
});

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
