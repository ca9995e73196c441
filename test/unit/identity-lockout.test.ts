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
