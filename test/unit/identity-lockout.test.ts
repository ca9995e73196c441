/** Whoever knows a name can keep nobody out of it, and guessers find bounds all the same. */
import { expect } from 'chai';
import { codeOf, errorOf } from '../support/codes.js';
import { ADMINISTRATOR, IdentityBench, PASSWORD, SOMEBODY } from '../support/identity.js';

const PER_ACCOUNT = 20;
const from = (number: number) => ({ actor: '', address: `198.51.${number >> 8}.${number & 255}` });
const NEW_PLACE = { actor: '', address: '203.0.113.9' };

describe('attempts for somebody else’s account', () => {
  let bench: IdentityBench;

  beforeEach(async () => {
    bench = await IdentityBench.open({ settings: { authCallsPerAccountPerHour: PER_ACCOUNT } });
    await bench.register('alice');
  });
  afterEach(() => bench[Symbol.asyncDispose]());

  const wrongPassword = (origin: typeof SOMEBODY) =>
    codeOf(() => bench.identity.login.init({ account: 'alice', password: 'wrong password' }, origin));
  const logInFrom = async (origin: typeof SOMEBODY) => {
    await bench.identity.login.init({ account: 'alice', password: PASSWORD }, origin);
    const code = await bench.codeFor('alice@example.org');
    return await bench.identity.login.verify({ account: 'alice', code }, origin);
  };

  it('twenty wrong codes from one place, or from many, leave the owner’s code good', async () => {
    const code = await bench.startLogin('alice');
    const wrong = bench.wrong(code);
    for (let tries = 0; tries < 2 * PER_ACCOUNT; tries += 1) {
      const origin = tries < PER_ACCOUNT ? NEW_PLACE : from(tries);
      await codeOf(() => bench.identity.login.verify({ account: 'alice', code: wrong }, origin));
    }
    expect((await bench.identity.login.verify({ account: 'alice', code }, SOMEBODY)).username).to.equal('alice');
  });

  it('a guesser has eight tries of each code, wherever they come from', async () => {
    const code = await bench.startLogin('alice');
    let looked = 0;
    const { redeem } = bench.store.challenges;
    bench.store.challenges.redeem = (attempt) =>
      redeem({
        ...attempt,
        matches: (found) => {
          looked += found === undefined ? 0 : 1;
          return attempt.matches(found);
        },
      });
    const verify = (origin: typeof SOMEBODY) =>
      codeOf(() => bench.identity.login.verify({ account: 'alice', code: bench.wrong(code) }, origin));
    for (let tries = 0; tries < 30; tries += 1) await verify(from(tries));
    for (let tries = 0; tries < 10; tries += 1) await verify(SOMEBODY);
    expect(looked).to.equal(8);
  });

  it('wrong passwords from one place shut that place out, and neither the owner nor a new place of the owner’s', async () => {
    for (let tries = 0; tries < PER_ACCOUNT; tries += 1)
      expect(await wrongPassword(from(1))).to.equal('unauthenticated');
    for (let tries = 0; tries < 20 * PER_ACCOUNT; tries += 1)
      expect(await wrongPassword(from(1))).to.equal('resource_exhausted');
    expect((await logInFrom(SOMEBODY)).username).to.equal('alice');
    expect((await logInFrom(NEW_PLACE)).username).to.equal('alice');
  });

  it('wrong passwords from very many places slow strangers down, and not where the owner was before', async () => {
    for (let tries = 0; tries < 10 * PER_ACCOUNT; tries += 1)
      expect(await wrongPassword(from(tries))).to.equal('unauthenticated');
    expect(await wrongPassword(from(1000)), 'the first of the slow ones').to.equal('unauthenticated');
    const refused = await errorOf(() =>
      bench.identity.login.init({ account: 'alice', password: 'wrong password' }, from(1001)),
    );
    expect(refused).to.include({ code: 'resource_exhausted' });
    expect(refused.details['retry_after_ms']).to.be.at.most(30_000);
    expect((await logInFrom(SOMEBODY)).username).to.equal('alice');
    // Slow is not shut: half a minute later somebody new has a try.
    bench.nowMs += 30_000;
    expect((await logInFrom(NEW_PLACE)).username).to.equal('alice');
  });

  it('one with the right password has few codes sent in an hour, and the owner all the same', async () => {
    const sent = bench.mailer.sent.length;
    for (let tries = 0; tries < 3 * PER_ACCOUNT; tries += 1)
      await codeOf(() => bench.identity.login.init({ account: 'alice', password: PASSWORD }, from(tries)));
    await bench.identity.mails.idle();
    expect(bench.mailer.sent.length - sent).to.equal(PER_ACCOUNT / 2);
    expect((await logInFrom(SOMEBODY)).username).to.equal('alice');
  });

  it('are forgotten when an administrator enables the account', async () => {
    for (let tries = 0; tries <= PER_ACCOUNT; tries += 1) await wrongPassword(SOMEBODY);
    expect(await codeOf(() => logInFrom(SOMEBODY))).to.equal('resource_exhausted');
    await bench.identity.administration.setDisabled('alice', false, ADMINISTRATOR);
    expect((await logInFrom(SOMEBODY)).username).to.equal('alice');
  });
});

describe('registrations of somebody else’s address', () => {
  let bench: IdentityBench;
  const email = 'bob@example.org';

  beforeEach(async () => {
    bench = await IdentityBench.open({ settings: { authCallsPerAccountPerHour: PER_ACCOUNT } });
  });
  afterEach(() => bench[Symbol.asyncDispose]());

  const init = (username: string, origin: typeof SOMEBODY) => {
    bench.nowMs += 1;
    return bench.identity.registration.init({ username, email, password: PASSWORD }, origin);
  };
  const verify = (code: string, origin: typeof SOMEBODY) => bench.identity.registration.verify({ email, code }, origin);
  /** As many as may be mailed at once, from many places, and the first of the slow ones. */
  const crowd = async (username = 'mallory'): Promise<void> => {
    for (let number = 0; number <= PER_ACCOUNT; number += 1) await init(username, from(number));
  };

  it('void neither the code that the owner got, nor what was asked for with it', async () => {
    await init('bob', SOMEBODY);
    const code = await bench.codeFor(email);
    for (let number = 0; number < 10; number += 1) await init('mallory', from(number));
    for (let number = 0; number < 10; number += 1) await codeOf(() => verify(bench.wrong(code), from(number)));
    expect(await verify(code, SOMEBODY)).to.include({ username: 'bob' });
  });

  it('are each of where they came from: a code from elsewhere makes no other account of the owner’s', async () => {
    await init('mallory', from(1));
    const strangers = await bench.codeFor(email);
    await init('bob', SOMEBODY);
    const own = await bench.codeFor(email);
    if (own !== strangers) expect(await codeOf(() => verify(strangers, SOMEBODY))).to.equal('unauthenticated');
    expect(await verify(own, SOMEBODY)).to.include({ username: 'bob' });
  });

  it('let the owner in who changed networks meanwhile', async () => {
    await init('mallory', from(1));
    await init('bob', SOMEBODY);
    expect(await verify(await bench.codeFor(email), NEW_PLACE)).to.include({ username: 'bob' });
  });

  it('send few mails in an hour, and let the owner in all the same with the last of them', async () => {
    await crowd();
    for (let number = 100; number < 110; number += 1) await init('mallory', from(number));
    const code = await bench.codeFor(email);
    expect(bench.mailer.sent).to.have.length(PER_ACCOUNT + 1);
    expect(bench.mailer.sent.at(-1)?.text)
      .to.match(/Many registrations/)
      .and.not.include('mallory');
    await init('bob', SOMEBODY);
    await bench.identity.mails.idle();
    expect(bench.mailer.sent).to.have.length(PER_ACCOUNT + 1);
    for (let number = 100; number < 110; number += 1) await codeOf(() => verify(bench.wrong(code), from(number)));
    expect(await verify(code, SOMEBODY)).to.include({ username: 'bob' });
  });

  it('with a name that is taken leave the owner a code, too', async () => {
    await bench.register('carol');
    await crowd('carol');
    const code = await bench.codeFor(email);
    await init('bob', SOMEBODY);
    expect(await codeOf(() => verify(code, from(PER_ACCOUNT))), 'the name is carol’s').to.equal('already_exists');
    bench.nowMs += 300_000;
    await init('carol', from(200));
    await init('bob', SOMEBODY);
    expect(await verify(await bench.codeFor(email), SOMEBODY)).to.include({ username: 'bob' });
  });

  it('have few tries of a code that they share, and few places share one', async () => {
    await crowd();
    const code = await bench.codeFor(email);
    const codes: string[] = [];
    for (let number = 100; number < 125; number += 1) codes.push(await codeOf(() => init('mallory', from(number))));
    expect(codes.filter((one) => one === 'accepted')).to.have.length(20);
    const [late] = await Promise.all([errorOf(() => init('mallory', from(300)))]);
    expect(late).to.include({ code: 'resource_exhausted' });
    for (let tries = 0; tries < 2; tries += 1) {
      await codeOf(() => verify(bench.wrong(code), from(100)));
      // Asking again brings no more of them.
      await init('mallory', from(100));
    }
    expect(await codeOf(() => verify(code, from(100)))).to.equal('unauthenticated');
    // Once the next mail may go, the first who asks has a code of their own.
    bench.nowMs += 300_000;
    await init('bob', SOMEBODY);
    expect(await verify(await bench.codeFor(email), SOMEBODY)).to.include({ username: 'bob' });
  });

  it('of an address that has an account open for nobody, and tell nobody', async () => {
    await bench.register('bob');
    await crowd();
    expect(await codeOf(() => init('robert', NEW_PLACE)), 'as for any other').to.equal('accepted');
    await bench.identity.mails.idle();
    expect(bench.mailer.sent.at(-1)?.text).to.include('one already').and.not.include('Code:');
  });
});

describe('codes for an account whose password others have', () => {
  it('are the owner’s beside theirs', async () => {
    await using bench = await IdentityBench.open();
    await bench.register('alice');
    const code = await bench.startLogin('alice');
    await bench.identity.login.init({ account: 'alice', password: PASSWORD }, NEW_PLACE);
    await bench.codeFor('alice@example.org');
    expect((await bench.identity.login.verify({ account: 'alice', code }, SOMEBODY)).username).to.equal('alice');
  });
});
