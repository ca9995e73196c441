/** Counting all that is stored: once for all that ask, and seldom where it takes long. */
import { expect } from 'chai';
import { StorageCounts } from '../../controller/metrics/storage-counts.js';
import type { Clock } from '../../shared/async/clock.js';

/** Stands still but for `advance`. */
function stoppedClock() {
  let at = 0;
  const clock: Clock = { now: () => at, monotonic: () => at, sleep: () => Promise.resolve() };
  return { clock, advance: (ms: number) => (at += ms) };
}

describe('counting all files and copies', () => {
  function bench(tookMs: number) {
    const { clock, advance } = stoppedClock();
    let counted = 0;
    const counts = new StorageCounts(
      {
        files: {
          totals: () => {
            counted += 1;
            advance(tookMs);
            return Promise.resolve({ files: counted, chunks: 0, bytes: 0, underReplicated: 0, pendingDeletes: 0 });
          },
        },
        replicas: { countStates: () => Promise.resolve(new Map()) },
      } as never,
      clock,
    );
    return { advance, read: async () => (await counts.read()).totals.files };
  }

  it('is done once for all that ask meanwhile', async () => {
    const { read } = bench(100);
    expect(await Promise.all([read(), read(), read()])).to.deep.equal([1, 1, 1]);
  });

  it('takes a twentieth of the time at most', async () => {
    const { advance, read } = bench(100);
    expect(await read()).to.equal(1);
    advance(1999);
    expect(await read()).to.equal(1);
    advance(2);
    expect(await read()).to.equal(2);
  });

  it('is done again after a failure', async () => {
    const { clock, advance } = stoppedClock();
    let isBroken = true;
    const counts = new StorageCounts(
      {
        files: { totals: () => (isBroken ? Promise.reject(new Error('no')) : Promise.resolve({ files: 3 })) },
        replicas: { countStates: () => Promise.resolve(new Map()) },
      } as never,
      clock,
    );
    expect(await counts.read().catch(() => 'failed')).to.equal('failed');
    isBroken = false;
    advance(1);
    expect((await counts.read()).totals.files).to.equal(3);
  });
});
