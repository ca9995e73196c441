/** Bounds on what clients hold: bytes of requests, open streams. */
import { expect } from 'chai';
import { Shares } from '../../shared/shares.js';
import { errorOf } from '../support/codes.js';

describe('shares', () => {
  const refusal = (shares: Shares, client: string, amount?: number) =>
    errorOf(() => {
      shares.take(client, amount);
    });

  it('are bounded for one client and for all, and refusals say when to come again', async () => {
    const shares = new Shares({ ofOne: 10, ofAll: 15, what: 'things are held' });
    const first = shares.take('a', 10);
    expect(await refusal(shares, 'a', 1)).to.deep.include({
      code: 'resource_exhausted',
      details: { retry_after_ms: 1000 },
    });
    shares.take('b', 5);
    expect(await refusal(shares, 'c')).to.deep.include({ code: 'unavailable', details: { retry_after_ms: 1000 } });
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    expect([shares.held(), shares.held('a'), shares.held('b')]).to.deep.equal([5, 0, 5]);
    shares.take('c', 10);
    expect(shares.held()).to.equal(15);
  });

  it('keep nothing of clients that hold nothing', async () => {
    const shares = new Shares({ ofOne: 1, ofAll: 2, what: 'things are held' });
    for (let number = 0; number < 1000; number += 1) shares.take(`client ${number}`)[Symbol.dispose]();
    await refusal(shares, 'x', 5);
    expect(shares.held()).to.equal(0);
    expect(shares.held('x')).to.equal(0);
  });
});
