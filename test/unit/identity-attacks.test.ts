/** Attacks on codes, tokens and the silence about who has an account: each one is a test. */
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { expect } from 'chai';
import jwt from 'jsonwebtoken';
import type { Session } from '../../controller/identity/deps.js';
import { codeOf, errorOf } from '../support/codes.js';
import { ADMINISTRATOR, IdentityBench, OTP_TTL_MS, PASSWORD, SOMEBODY, TOKEN_TTL_MS } from '../support/identity.js';

describe('attacks on identity', () => {
  let bench: IdentityBench;

  beforeEach(async () => {
    bench = await IdentityBench.open();
  });
  afterEach(async () => {
    await bench[Symbol.asyncDispose]();
  });

  const verify = (account: string, code: string): Promise<Session> =>
    bench.identity.login.verify({ account, code }, SOMEBODY);
  const authenticate = (token: string) => bench.identity.sessions.authenticate(token);

  describe('a code', () => {
    beforeEach(async () => {
      await bench.register('alice');
    });

    it('that is guessed is void after five tries, even for the right one', async () => {
      const code = await bench.startLogin('alice');
      for (let tries = 0; tries < 5; tries += 1) {
        expect(await codeOf(() => verify('alice', bench.wrong(code)))).to.equal('unauthenticated');
      }
      expect(await codeOf(() => verify('alice', code))).to.equal('unauthenticated');
    });

    it('still opens at the fifth try', async () => {
      const code = await bench.startLogin('alice');
      for (let tries = 0; tries < 4; tries += 1) await codeOf(() => verify('alice', bench.wrong(code)));
      expect((await verify('alice', code)).username).to.equal('alice');
    });

    it('that is guessed for a registration is void after five tries, too', async () => {
      const email = 'bob@example.org';
      await bench.identity.registration.init({ username: 'bob', email, password: PASSWORD }, SOMEBODY);
      const code = await bench.codeFor(email);
      const attempt = (given: string) =>
        codeOf(() => bench.identity.registration.verify({ email, code: given }, SOMEBODY));
      for (let tries = 0; tries < 5; tries += 1) expect(await attempt(bench.wrong(code))).to.equal('unauthenticated');
      expect(await attempt(code)).to.equal('unauthenticated');
      expect(await bench.store.users.get('bob')).to.equal(undefined);
    });

    it('opens once', async () => {
      const code = await bench.startLogin('alice');
      await verify('alice', code);
      expect(await codeOf(() => verify('alice', code))).to.equal('unauthenticated');
    });

    it('expires after five minutes', async () => {
      const late = await bench.startLogin('alice');
      bench.nowMs += OTP_TTL_MS;
      expect(await codeOf(() => verify('alice', late))).to.equal('unauthenticated');
      const inTime = await bench.startLogin('alice');
      bench.nowMs += OTP_TTL_MS - 1;
      expect(await codeOf(() => verify('alice', inTime))).to.equal('accepted');
    });

    it('is void when another was asked for', async () => {
      const first = await bench.startLogin('alice');
      const second = await bench.startLogin('alice');
      if (first !== second) expect(await codeOf(() => verify('alice', first))).to.equal('unauthenticated');
      expect(await codeOf(() => verify('alice', second))).to.equal('accepted');
    });

    it('that is verified many times at once has one winner', async () => {
      const code = await bench.startLogin('alice');
      const codes = await Promise.all(Array.from({ length: 5 }, () => codeOf(() => verify('alice', code))));
      expect(codes.filter((one) => one === 'accepted')).to.have.length(1);
    });

    it('that is verified twice at once makes one account of a registration', async () => {
      const email = 'bob@example.org';
      await bench.identity.registration.init({ username: 'bob', email, password: PASSWORD }, SOMEBODY);
      const code = await bench.codeFor(email);
      const attempts = [1, 2].map(() => codeOf(() => bench.identity.registration.verify({ email, code }, SOMEBODY)));
      expect((await Promise.all(attempts)).sort()).to.deep.equal(['accepted', 'unauthenticated']);
    });

    it('of one account, purpose or person opens no other', async () => {
      await bench.register('bob');
      const alices = await bench.startLogin('alice');
      const bobs = await bench.startLogin('bob');
      if (alices !== bobs) expect(await codeOf(() => verify('bob', alices))).to.equal('unauthenticated');
      const email = 'alice@example.org';
      expect(await codeOf(() => bench.identity.registration.verify({ email, code: alices }, SOMEBODY))).to.equal(
        'unauthenticated',
      );
      expect(await codeOf(() => verify('alice', alices))).to.equal('accepted');
    });

    it('is not sent, and does not open, without the password', async () => {
      const before = bench.mailer.sent.length;
      const attempt = { account: 'alice', password: 'wrong password' };
      expect(await codeOf(() => bench.identity.login.init(attempt, SOMEBODY))).to.equal('unauthenticated');
      await bench.identity.mails.idle();
      expect(bench.mailer.sent).to.have.length(before);
    });

    it('lies in the store as a keyed hash: whoever has the rows can not find it by hashing all codes', async () => {
      const code = await bench.startLogin('alice');
      let row = { salt: '', codeHash: '' };
      await bench.store.challenges.redeem({
        purpose: 'login',
        account: 'alice',
        now: bench.nowMs,
        origin: 'here',
        maxAttempts: 5,
        maxElsewhere: 3,
        matches: (found) => {
          if (found !== undefined) row = found;
          return false;
        },
        audit: () => ({ at: 0, action: 'looked', username: '', actor: '', address: '', detail: '' }),
      });
      const text = ['login', 'alice', row.salt, code].join('\n');
      const hashed = (key: string | Uint8Array) => createHmac('sha256', key).update(text).digest('hex');
      expect(row.codeHash).to.equal(hashed(bench.keys.codeKey));
      expect(row.codeHash).not.to.equal(hashed(''));
      expect(JSON.stringify(row)).not.to.include(code);
    });
  });

  describe('a token', () => {
    let session: Session;
    let claims: jwt.JwtPayload;
    let kid: string;

    beforeEach(async () => {
      session = await bench.register('alice');
      const decoded = jwt.decode(session.token, { complete: true });
      claims = decoded?.payload as jwt.JwtPayload;
      kid = decoded?.header.kid ?? '';
    });

    const refusalOf = async (token: string): Promise<string> => {
      const error = await errorOf(() => authenticate(token));
      expect(error.code).to.equal('unauthenticated');
      return error.message;
    };

    it('that was issued here is accepted, and says what the account is now', async () => {
      expect(await authenticate(session.token)).to.deep.include({ username: 'alice', role: 'user' });
      expect(claims).to.include({ iss: 'test', sub: 'alice', role: 'user' });
      expect(claims.exp! - claims.iat!).to.equal(TOKEN_TTL_MS / 1000);
    });

    it('with alg none is refused', async () => {
      const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      for (const alg of ['none', 'None', 'NONE']) {
        expect(await refusalOf(`${encode({ alg, typ: 'JWT', kid })}.${encode(claims)}.`)).to.include('not valid');
      }
      // The right signature under another header.
      const signature = session.token.split('.')[2] ?? '';
      await refusalOf(`${encode({ alg: 'none', typ: 'JWT', kid })}.${encode(claims)}.${signature}`);
    });

    it('that was signed by another key is refused, under its own key id and under ours', async () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      for (const keyid of [kid, 'another']) {
        await refusalOf(jwt.sign(claims, privateKey, { algorithm: 'ES256', keyid }));
      }
    });

    it('that was signed with our public key as an HS256 secret is refused', async () => {
      const [shape] = bench.identity.publicKeys();
      const pem = bench.keys.verifying(shape!.kid)!.export({ type: 'spki', format: 'pem' }).toString();
      const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const body = `${encode({ alg: 'HS256', typ: 'JWT', kid })}.${encode(claims)}`;
      for (const secret of [pem, pem.trim(), JSON.stringify(shape)]) {
        const signature = createHmac('sha256', secret).update(body).digest('base64url');
        expect(await refusalOf(`${body}.${signature}`)).to.include('not valid');
      }
    });

    it('that was changed is refused', async () => {
      const [head, , signature] = session.token.split('.');
      const changed = Buffer.from(JSON.stringify({ ...claims, sub: 'admin', role: 'admin' })).toString('base64url');
      await refusalOf(`${head}.${changed}.${signature}`);
      for (const text of ['', 'x', 'a.b.c', `${session.token}.x`, 'x'.repeat(5000)]) await refusalOf(text);
    });

    it('of another instance, or without a claim, is refused', async () => {
      const { privateKey } = bench.keys.signing;
      const sign = (payload: object) => jwt.sign(payload, privateKey, { algorithm: 'ES256', keyid: kid });
      expect(await codeOf(() => authenticate(sign(claims)))).to.equal('accepted');
      await refusalOf(sign({ ...claims, iss: 'other' }));
      for (const name of ['exp', 'jti', 'sub', 'gen']) {
        const { [name]: _left, ...rest } = claims;
        expect(await refusalOf(sign(rest)), name).to.be.a('string');
      }
    });

    it('that has expired is refused, to the second', async () => {
      bench.nowMs = claims.exp! * 1000 - 1;
      expect(await codeOf(() => authenticate(session.token))).to.equal('accepted');
      bench.nowMs += 1;
      expect(await refusalOf(session.token)).to.include('has expired');
    });

    it('that was revoked is refused; another one of the same user is not', async () => {
      const other = await bench.logIn('alice');
      const principal = await authenticate(session.token);
      await bench.identity.sessions.logout(principal, { actor: 'alice', address: '' });
      expect(await refusalOf(session.token)).to.include('revoked');
      await bench.identity.upkeep();
      expect(await refusalOf(session.token)).to.include('revoked');
      expect(await codeOf(() => authenticate(other.token))).to.equal('accepted');
    });

    it('of a disabled user is refused at once, and stays void when the user is enabled again', async () => {
      // What was found for it a moment ago is kept, and must not count any more.
      await authenticate(session.token);
      await bench.identity.administration.setDisabled('alice', true, ADMINISTRATOR);
      expect(await refusalOf(session.token)).to.include('disabled');
      const attempt = { account: 'alice', password: PASSWORD };
      expect(await codeOf(() => bench.identity.login.init(attempt, SOMEBODY))).to.equal('unauthenticated');
      await bench.identity.administration.setDisabled('alice', false, ADMINISTRATOR);
      await refusalOf(session.token);
      expect(await codeOf(async () => authenticate((await bench.logIn('alice')).token))).to.equal('accepted');
    });

    it('is not issued to a user who is disabled between the two steps of a login', async () => {
      const code = await bench.startLogin('alice');
      await bench.identity.administration.setDisabled('alice', true, ADMINISTRATOR);
      expect(await codeOf(() => verify('alice', code))).to.equal('unauthenticated');
    });

    it('gives no more than the role that its user has now', async () => {
      await bench.identity.administration.setRole('alice', 'admin', ADMINISTRATOR);
      const asAdministrator = await bench.logIn('alice');
      expect((await authenticate(session.token)).role).to.equal('admin');
      expect((await authenticate(asAdministrator.token)).role).to.equal('admin');
      await bench.identity.administration.setRole('alice', 'user', ADMINISTRATOR);
      expect((await authenticate(asAdministrator.token)).role).to.equal('user');
    });

    it('of the last administrator cannot shut everybody out, not even by two who do it to each other at once', async () => {
      const { administration } = bench.identity;
      const remote = { actor: 'alice', address: '192.0.2.7' };
      const roles = async () => (await administration.listUsers(10, '')).items.map(({ role }) => role);
      await administration.setRole('alice', 'admin', ADMINISTRATOR);
      expect(await codeOf(() => administration.setRole('alice', 'user', remote))).to.equal('failed_precondition');
      expect(await codeOf(() => administration.setDisabled('alice', true, remote))).to.equal('failed_precondition');
      expect(await codeOf(() => administration.setRole('alice', 'admin', remote))).to.equal('accepted');
      await bench.register('bob');
      await administration.setRole('bob', 'admin', remote);
      await administration.setDisabled('bob', true, remote);
      expect(await codeOf(() => administration.setRole('alice', 'user', remote)), 'bob is disabled').to.equal(
        'failed_precondition',
      );
      await administration.setDisabled('bob', false, remote);
      const both = ['alice', 'bob'].map((name) => codeOf(() => administration.setRole(name, 'user', remote)));
      expect((await Promise.all(both)).sort()).to.deep.equal(['accepted', 'failed_precondition']);
      expect((await roles()).sort()).to.deep.equal(['admin', 'user']);
      expect(await bench.actions(), 'what was refused is no change').to.satisfy(
        (actions: readonly string[]) => actions.filter((action) => action === 'user.role-changed').length === 4,
      );
      // Whoever has the admin socket needs no account.
      for (const name of ['alice', 'bob']) await administration.setRole(name, 'user', ADMINISTRATOR);
      expect(await roles()).to.deep.equal(['user', 'user']);
    });

    it('outlives a rotation of the key until it expires, and not longer', async () => {
      await bench.identity.administration.rotateSigningKey(false, ADMINISTRATOR);
      expect(await codeOf(() => authenticate(session.token))).to.equal('accepted');
      const fresh = await bench.logIn('alice');
      expect(jwt.decode(fresh.token, { complete: true })?.header.kid).not.to.equal(kid);
      expect(bench.identity.publicKeys()).to.have.length(2);
      bench.nowMs += TOKEN_TTL_MS;
      await refusalOf(session.token);
      expect(bench.identity.publicKeys()).to.have.length(1);
    });

    it('is void at once when the key was replaced because others may know it', async () => {
      await bench.identity.administration.rotateSigningKey(true, ADMINISTRATOR);
      await refusalOf(session.token);
      expect(bench.identity.publicKeys()).to.have.length(1);
    });
  });
});
