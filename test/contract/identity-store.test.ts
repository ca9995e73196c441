/** What every identity store keeps: accounts, codes that open once, revocations, counters, and their audit log. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { expect } from 'chai';
import { DataSource } from 'typeorm';
import { MAX_AUDIT_LINES } from '../../controller/identity/bounds.js';
import { FakeIdentityStore } from '../fakes/identity-store.js';
import type { AuditLine, ChallengeRecord, IdentityStore, UserRecord } from '../../controller/identity/port.js';
import { openIdentityStore } from '../../controller/identity/typeorm.js';
import { postgres } from '../../controller/store/postgres/open.js';
import { sqlite } from '../../controller/store/sqlite/open.js';
import { NexusError } from '../../shared/errors.js';
import { Accounts0001 } from '../../controller/identity/migrations/0001-accounts.js';
import { CodeOrigins0002 } from '../../controller/identity/migrations/0002-code-origins.js';
import { CodesByOrigin0003 } from '../../controller/identity/migrations/0003-codes-by-origin.js';
import { createLogger } from '../../shared/log.js';
import { codeOf, errorOf } from '../support/codes.js';
import { testPostgres, whyNoPostgres } from '../support/postgres.js';

interface Opened {
  readonly store: IdentityStore;
  dispose(): Promise<void>;
}

const log = createLogger('test', 'silent');

interface Kind {
  readonly name: string;
  readonly open: () => Promise<Opened>;
}

const ON_POSTGRES: Kind = {
  name: 'TypeORM on PostgreSQL',
  open: async () => {
    const store = await openIdentityStore(postgres((await testPostgres()).location()), log);
    return { store, dispose: () => store.erase() };
  },
};

const STORES: readonly Kind[] = [
  {
    name: 'in memory',
    open: () => {
      const store = new FakeIdentityStore();
      return Promise.resolve({ store, dispose: () => store.close() });
    },
  },
  {
    name: 'TypeORM on SQLite',
    open: async () => {
      const folder = await mkdtemp(join(tmpdir(), 'nexus-auth-'));
      const store = await openIdentityStore(sqlite({ path: join(folder, 'auth.db') }), log);
      return {
        store,
        dispose: async () => {
          await store.close();
          await rm(folder, { recursive: true });
        },
      };
    },
  },
  ...(whyNoPostgres() === undefined || process.env['NEXUS_REQUIRE_SYSTEM'] === '1' ? [ON_POSTGRES] : []),
];

const user = (username: string, change: Partial<UserRecord> = {}): UserRecord => ({
  username,
  email: `${username}@example.org`,
  passwordHash: '$scrypt$x',
  role: 'user',
  disabled: false,
  tokenGeneration: 0,
  createdAt: 1_790_000_000_000,
  ...change,
});

const line = (action: string, username = ''): AuditLine => ({
  at: 1_790_000_000_000,
  action,
  username,
  actor: '',
  address: '192.0.2.1',
  detail: '',
});

const challenge = (change: Partial<ChallengeRecord> = {}): ChallengeRecord => ({
  purpose: 'login',
  account: 'alice',
  salt: 'aa',
  codeHash: 'bb',
  origin: 'here',
  attempts: 0,
  attemptsElsewhere: 0,
  expiresAt: 1000,
  username: '',
  passwordHash: '',
  ...change,
});

for (const { name, open } of STORES) {
  describe(`identity store, ${name}`, () => {
    let opened: Opened;
    let store: IdentityStore;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(async () => {
      await opened.dispose();
    });

    const create = (one: UserRecord) => store.users.create(one, line('user.created', one.username));
    const actions = async () =>
      (await store.audit.list({ limit: 100, before: 0, username: '' })).map(({ action }) => action).reverse();

    describe('accounts', () => {
      it('come back as they were stored, by name and by address', async () => {
        const alice = user('alice', { role: 'admin', tokenGeneration: 3 });
        await create(alice);
        expect(await store.users.get('alice')).to.deep.equal(alice);
        expect(await store.users.getByEmail('alice@example.org')).to.deep.equal(alice);
        expect(await store.users.get('bob')).to.equal(undefined);
        expect(await store.users.getByEmail('bob@example.org')).to.equal(undefined);
      });

      it('have names and addresses of their own; who comes second leaves no trace', async () => {
        await create(user('alice'));
        const sameName = await errorOf(() => create(user('alice', { email: 'other@example.org' })));
        const sameAddress = await errorOf(() => create(user('alice2', { email: 'alice@example.org' })));
        expect([sameName.code, sameAddress.code]).to.deep.equal(['already_exists', 'already_exists']);
        expect([sameName.details['field'], sameAddress.details['field']]).to.deep.equal(['username', 'email']);
        expect(await actions()).to.deep.equal(['user.created']);
        expect(await store.users.list({ limit: 10, after: '' })).to.have.length(1);
      });

      it('made at once under one name: one wins', async () => {
        const codes = await Promise.all(
          Array.from({ length: 8 }, (_, at) => codeOf(() => create(user('alice', { email: `a${at}@example.org` })))),
        );
        expect(codes.filter((code) => code === 'accepted')).to.have.length(1);
      });

      it('change only in what is patched, by what they are in the transaction', async () => {
        await create(user('alice'));
        const add = () =>
          store.users.update('alice', (found) => ({ tokenGeneration: found.tokenGeneration + 1 }), line('bumped'));
        await Promise.all([add(), add(), add()]);
        expect(await store.users.get('alice')).to.deep.equal(user('alice', { tokenGeneration: 3 }));
        expect(await actions()).to.deep.equal(['user.created', 'bumped', 'bumped', 'bumped']);
        expect(await codeOf(() => store.users.update('bob', () => ({ disabled: true }), line('x')))).to.equal(
          'not_found',
        );
        expect(await actions()).to.have.length(4);
      });

      it('change knowing how many others can log in as administrators; what that refuses changes nothing', async () => {
        for (const name of ['alice', 'bob']) await create(user(name, { role: 'admin' }));
        await create(user('carol', { role: 'admin', disabled: true }));
        await create(user('dave'));
        const seen: number[] = [];
        const demote = (name: string) =>
          store.users.update(
            name,
            (_found, others) => {
              seen.push(others);
              if (others === 0) throw new NexusError('failed_precondition', 'the last');
              return { role: 'user' };
            },
            line('demoted'),
          );
        expect(await codeOf(() => demote('dave'))).to.equal('accepted');
        const both = await Promise.all(['alice', 'bob'].map((name) => codeOf(() => demote(name))));
        expect([both.sort(), seen]).to.deep.equal([
          ['accepted', 'failed_precondition'],
          [2, 1, 0],
        ]);
        expect((await actions()).filter((action) => action === 'demoted')).to.have.length(2);
      });

      it('are listed by name, a page at a time', async () => {
        for (const username of ['carol', 'alice', 'bob']) await create(user(username));
        const names = async (limit: number, after: string) =>
          (await store.users.list({ limit, after })).map(({ username }) => username);
        expect(await names(2, '')).to.deep.equal(['alice', 'bob']);
        expect(await names(2, 'bob')).to.deep.equal(['carol']);
        expect(await names(2, 'carol')).to.deep.equal([]);
      });
    });

    describe('codes', () => {
      const redeem = (
        change: { matches?: boolean; now?: number; account?: string; maxAttempts?: number; origin?: string } = {},
      ) =>
        store.challenges.redeem({
          purpose: 'login',
          account: change.account ?? 'alice',
          now: change.now ?? 500,
          origin: change.origin ?? 'here',
          maxAttempts: change.maxAttempts ?? 5,
          maxElsewhere: 3,
          matches: () => change.matches ?? true,
          audit: (won) => line(won ? 'won' : 'lost'),
        });

      it('open once', async () => {
        await store.challenges.put(challenge(), line('sent'));
        expect(await redeem()).to.deep.include({ account: 'alice', salt: 'aa', codeHash: 'bb', attempts: 1 });
        expect(await redeem()).to.equal(undefined);
        expect(await actions()).to.deep.equal(['sent', 'won', 'lost']);
      });

      it('open for one of many that come at once', async () => {
        await store.challenges.put(challenge(), line('sent'));
        const won = await Promise.all(Array.from({ length: 20 }, () => redeem({ maxAttempts: 100 })));
        expect(won.filter((one) => one !== undefined)).to.have.length(1);
      });

      it('keep the tries of where they were asked for apart from those of everywhere else', async () => {
        await store.challenges.put(challenge(), line('sent'));
        for (const origin of ['a', 'b', 'c', 'd', 'e', 'f']) await redeem({ matches: false, origin });
        expect(await redeem({ origin: 'elsewhere' })).to.equal(undefined);
        expect(await redeem()).to.deep.include({ attempts: 1, attemptsElsewhere: 3 });
        await store.challenges.put(challenge(), line('sent'));
        await Promise.all(Array.from({ length: 6 }, () => redeem({ matches: false })));
        expect(await redeem(), 'its own are used up').to.equal(undefined);
        expect(await redeem({ origin: 'elsewhere' })).to.deep.include({ attempts: 5, attemptsElsewhere: 1 });
      });

      it('stay shut after as many wrong tries as are allowed, counted one by one', async () => {
        await store.challenges.put(challenge(), line('sent'));
        await Promise.all(Array.from({ length: 4 }, () => redeem({ matches: false })));
        expect(await redeem({ matches: true, maxAttempts: 4 })).to.equal(undefined);
        expect(await redeem({ matches: false })).to.equal(undefined);
        expect(await redeem({ matches: true })).to.equal(undefined);
      });

      it('expire to the millisecond', async () => {
        await store.challenges.put(challenge({ expiresAt: 1000 }), line('sent'));
        expect(await redeem({ now: 1000 })).to.equal(undefined);
        expect(await redeem({ now: 999 })).not.to.equal(undefined);
      });

      it('are asked for once in every case, so that the work is the same', async () => {
        await store.challenges.put(challenge(), line('sent'));
        const asked: (string | undefined)[] = [];
        const ask = (account: string, now: number) =>
          store.challenges.redeem({
            purpose: 'login',
            account,
            now,
            origin: 'here',
            maxAttempts: 5,
            maxElsewhere: 3,
            matches: (found) => {
              asked.push(found?.account);
              return false;
            },
            audit: () => line('lost'),
          });
        await ask('alice', 1);
        await ask('nobody', 1);
        await ask('alice', 5000);
        expect(asked).to.deep.equal(['alice', undefined, undefined]);
        expect(await actions()).to.deep.equal(['sent', 'lost', 'lost', 'lost']);
      });

      it('do not open where a caller says yes to nothing', async () => {
        expect(await redeem({ account: 'nobody', matches: true })).to.equal(undefined);
        expect(await actions()).to.deep.equal(['lost']);
      });

      it('replace the one before, of the same purpose and account alone', async () => {
        await store.challenges.put(challenge({ purpose: 'registration' }), line('sent'));
        await store.challenges.put(challenge({ account: 'bob' }), line('sent'));
        await store.challenges.put(challenge({ salt: 'old' }), line('sent'));
        for (let tries = 0; tries < 5; tries += 1) await redeem({ matches: false });
        await store.challenges.put(challenge({ salt: 'new' }), line('sent'));
        expect((await redeem())?.salt).to.equal('new');
        expect((await redeem({ account: 'bob' }))?.account).to.equal('bob');
        expect(await redeem()).to.equal(undefined);
      });
    });

    describe('codes that were asked for from several places', () => {
      const put = (origin: string, change: Partial<ChallengeRecord> = {}) =>
        store.challenges.put(challenge({ origin, codeHash: `of ${origin}`, ...change }), line('sent'));
      /** Tries the code of that hash. */
      const redeem = (origin: string, codeHash: string, now = 500) =>
        store.challenges.redeem({
          purpose: 'login',
          account: 'alice',
          now,
          origin,
          maxAttempts: 5,
          maxElsewhere: 3,
          matches: (found) => found?.codeHash === codeHash,
          audit: (won) => line(won ? 'won' : 'lost'),
        });
      const join = (origin: string, { most = 2, username = 'asked' } = {}) => {
        const {
          salt: _salt,
          codeHash: _hash,
          expiresAt: _expiry,
          ...asked
        } = challenge({ origin, username, attempts: 3 });
        return store.challenges.join(asked, { now: 500, most }, line('joined'));
      };

      it('are good beside each other, each once', async () => {
        await put('here');
        await put('there');
        expect(await redeem('here', 'of here')).to.include({ origin: 'here' });
        expect(await redeem('here', 'of here')).to.equal(undefined);
        expect(await redeem('there', 'of there')).to.include({ origin: 'there' });
      });

      it('open from a third place, and not in the place of what was asked for there', async () => {
        await put('here');
        await put('there');
        expect(await redeem('there', 'of here'), 'has one of its own').to.equal(undefined);
        expect(await redeem('elsewhere', 'of here')).to.include({ origin: 'here' });
        await put('here', { expiresAt: 600 });
        expect(await redeem('here', 'of there', 700), 'its own has expired').to.include({ origin: 'there' });
      });

      it('lose one try elsewhere each for a try from a third place, and none for one of another owner', async () => {
        await put('here');
        await put('there');
        for (let tries = 0; tries < 9; tries += 1) await redeem('there', 'wrong');
        expect(await redeem('elsewhere', 'wrong')).to.equal(undefined);
        expect(await redeem('here', 'of here')).to.include({ attempts: 1, attemptsElsewhere: 1 });
      });

      it('are shared: the newest, at most so often, and what was asked for with it stays apart', async () => {
        await put('here', { expiresAt: 900 });
        await put('there', { expiresAt: 1000, salt: 'newest' });
        expect(await join('a', { username: 'as' })).to.equal(1000);
        expect(await join('b')).to.equal(1000);
        expect(await join('c'), 'one too many').to.equal(undefined);
        expect(await join('b'), 'again').to.equal(1000);
        expect(await redeem('c', 'wrong')).to.equal(undefined);
        const won = await redeem('a', 'of there');
        expect(won).to.deep.include({ username: 'as', salt: 'newest', origin: 'a', attempts: 4 });
        expect(await redeem('b', 'of there'), 'used up for all').to.equal(undefined);
        expect(await redeem('here', 'of here')).to.include({ origin: 'here' });
        expect(await actions()).to.deep.equal([
          'sent',
          'sent',
          'joined',
          'joined',
          'joined',
          'lost',
          'won',
          'lost',
          'won',
        ]);
      });

      it('keep the tries that were made of a shared one when it is asked for again', async () => {
        await put('there');
        await join('a');
        for (let tries = 0; tries < 2; tries += 1) await redeem('a', 'wrong');
        await join('a');
        expect(await redeem('a', 'of there')).to.equal(undefined);
      });

      it('are shared with nobody where none is open', async () => {
        expect(await join('a')).to.equal(undefined);
        await put('here', { expiresAt: 500 });
        await put('here', { expiresAt: 1000, account: 'bob' });
        expect(await join('a')).to.equal(undefined);
        expect(await redeem('a', 'of here')).to.equal(undefined);
      });
    });

    describe('revocations', () => {
      it('are remembered, twice as once', async () => {
        await store.revocations.add('t1', 1000, line('logout'));
        await store.revocations.add('t1', 1000, line('logout'));
        expect(await store.revocations.has('t1')).to.equal(true);
        expect(await store.revocations.has('t2')).to.equal(false);
        expect(await actions()).to.deep.equal(['logout']);
      });
    });

    describe('counters', () => {
      it('can be asked for, and are forgotten by their ending alone', async () => {
        await store.counters.count(['a:b_c', 'a:bxc', 'b_c:a'], 0, 100);
        expect(await store.counters.has('a:b_c', 99)).to.equal(true);
        expect(await store.counters.has('a:b_c', 100)).to.equal(false);
        expect(await store.counters.has('a', 0)).to.equal(false);
        await store.counters.forget(':b_c');
        expect(await Promise.all(['a:b_c', 'a:bxc', 'b_c:a'].map((key) => store.counters.has(key, 1)))).to.deep.equal([
          false,
          true,
          true,
        ]);
      });

      it('count each key within its window, and begin anew after it', async () => {
        const count = async (now: number, ...keys: string[]) =>
          (await store.counters.count(keys, now, 100)).map((one) => [one.key, one.count, one.resetsAt]);
        expect(await count(0, 'a', 'b')).to.deep.equal([
          ['a', 1, 100],
          ['b', 1, 100],
        ]);
        expect(await count(99, 'b')).to.deep.equal([['b', 2, 100]]);
        expect(await count(100, 'a', 'b')).to.deep.equal([
          ['a', 1, 200],
          ['b', 1, 200],
        ]);
      });

      it('lose nothing when they are counted at once', async () => {
        await Promise.all(Array.from({ length: 30 }, () => store.counters.count(['a'], 0, 100)));
        expect((await store.counters.count(['a'], 0, 100))[0]?.count).to.equal(31);
      });
    });

    it('keep the audit log newest first, by page and by account', async () => {
      for (let number = 0; number < 5; number += 1) {
        await store.audit.append(line(`a${number}`, number % 2 === 0 ? 'alice' : 'bob'));
      }
      const page = async (limit: number, before: number, username = '') =>
        await store.audit.list({ limit, before, username });
      const first = await page(2, 0);
      expect(first.map(({ action }) => action)).to.deep.equal(['a4', 'a3']);
      expect((await page(10, first[1]!.id)).map(({ action }) => action)).to.deep.equal(['a2', 'a1', 'a0']);
      expect((await page(10, 0, 'bob')).map(({ action }) => action)).to.deep.equal(['a3', 'a1']);
      expect(first[0]).to.deep.equal({ id: first[0]!.id, ...line('a4', 'alice') });
    });

    it('purge what has expired and nothing else', async () => {
      await store.challenges.put(challenge({ account: 'old', expiresAt: 100 }), line('sent'));
      await store.challenges.put(challenge({ account: 'new', expiresAt: 101 }), line('sent'));
      await store.revocations.add('old', 100, line('logout'));
      await store.revocations.add('new', 101, line('logout'));
      await store.counters.count(['a'], 0, 101);
      await store.purge(100);
      expect(await store.revocations.has('old')).to.equal(false);
      expect(await store.revocations.has('new')).to.equal(true);
      expect((await store.counters.count(['a'], 100, 101))[0]?.count).to.equal(2);
      await store.purge(1000);
      expect(await store.revocations.has('new')).to.equal(false);
    });

    it('refuse work after the close', async () => {
      await store.close();
      await store.close();
      expect(await codeOf(() => store.users.get('alice'))).to.equal('unavailable');
      expect(await codeOf(() => create(user('alice')))).to.equal('unavailable');
    });
  });
}

describe('identity store on SQLite', () => {
  it('keeps accounts, tries and counters over a close and reopen, and trims the audit log', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'nexus-auth-'));
    const path = join(folder, 'auth.db');
    const store = await openIdentityStore(sqlite({ path }), log);
    await store.users.create(user('alice'), line('user.created'));
    await store.challenges.put(challenge(), line('sent'));
    const wrong = {
      purpose: 'login',
      account: 'alice',
      now: 1,
      origin: 'here',
      maxAttempts: 1,
      maxElsewhere: 3,
      matches: () => false,
    } as const;
    await store.challenges.redeem({ ...wrong, audit: () => line('lost') });
    await store.counters.count(['a'], 0, 100);
    await store.close();
    const raw = new Sqlite(path);
    const columns = "(at, action, username, actor, address, detail) VALUES (1, 'x', '', '', '', '')";
    const insert = raw.prepare(`INSERT INTO audit ${columns}`);
    raw.transaction(() => {
      for (let count = 0; count < MAX_AUDIT_LINES; count += 1) insert.run();
    })();
    raw.close();
    const again = await openIdentityStore(sqlite({ path }), log);
    expect(await again.users.get('alice')).to.deep.equal(user('alice'));
    expect(await again.challenges.redeem({ ...wrong, matches: () => true, audit: () => line('lost') })).to.equal(
      undefined,
    );
    expect((await again.counters.count(['a'], 1, 100))[0]?.count).to.equal(2);
    await again.close();
    const counted = new Sqlite(path, { readonly: true });
    expect(counted.prepare('SELECT COUNT(*) AS lines FROM audit').get()).to.deep.equal({ lines: MAX_AUDIT_LINES });
    counted.close();
    await rm(folder, { recursive: true });
  });

  it('goes back to one code for each account, and on again', async () => {
    const source = new DataSource({ type: 'better-sqlite3', database: ':memory:' });
    await source.initialize();
    const runner = source.createQueryRunner();
    const put = (origin: string) =>
      runner.query(
        "INSERT INTO challenges (purpose, account, salt, code_hash, attempts, expires_at, username, password_hash, origin) VALUES ('login', 'alice', '', '', 0, 1, '', '', ?)",
        [origin],
      );
    const [first, second, third] = [new Accounts0001(), new CodeOrigins0002(), new CodesByOrigin0003()];
    await first.up(runner);
    await second.up(runner);
    await put('a');
    await third.up(runner);
    await put('b');
    const rows = 'SELECT origin FROM challenges ORDER BY origin';
    expect(await runner.query(rows)).to.deep.equal([{ origin: 'a' }, { origin: 'b' }]);
    await third.down(runner);
    await put('a');
    await put('b').then(
      () => expect.fail('two of one account'),
      (error: unknown) => expect(String(error)).to.include('UNIQUE'),
    );
    await third.up(runner);
    await put('b');
    await source.destroy();
  });
});
