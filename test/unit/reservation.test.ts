import { expect } from 'chai';
import fc from 'fast-check';
import { planNamedReservation, planReservation } from '../../controller/file/reservation.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';

describe('what an upload holds of a quota', () => {
  it('is what it said, however the grants are cut, and more only beyond that', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 * CHUNK_SIZE_BYTES }),
        fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 12 }),
        (expectedSize, wishes) => {
          let upload = { expectedSize, granted: 0, reserved: expectedSize };
          for (const wish of wishes) {
            const { count, reserved } = planReservation(upload, wish, Infinity);
            expect(count).to.equal(wish);
            upload = { ...upload, granted: upload.granted + count, reserved };
          }
          const beyond = Math.max(0, upload.granted - Math.ceil(expectedSize / CHUNK_SIZE_BYTES));
          expect(upload.reserved).to.equal(expectedSize + beyond * CHUNK_SIZE_BYTES);
        },
      ),
    );
  });

  it('never exceeds the room while there is some, and grants as much as fits', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200_000_000 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }),
        (quota, wishes) => {
          let upload = { expectedSize: 0, granted: 0, reserved: 0 };
          for (const wish of wishes) {
            const room = quota - upload.reserved;
            const { count, reserved } = planReservation(upload, wish, room);
            expect(count).to.be.within(1, wish);
            if (room <= 0) {
              // Whoever keeps the account refuses it.
              expect(reserved).to.be.greaterThan(quota);
              return;
            }
            expect(reserved).to.be.at.most(quota);
            const isMore = count < wish && room >= (count + 1) * CHUNK_SIZE_BYTES;
            expect(isMore).to.equal(false);
            upload = { ...upload, granted: upload.granted + count, reserved };
          }
        },
      ),
    );
  });

  it('is the sum of the sizes that are named, at least what was announced, and as many as fit', () => {
    const upload = { expectedSize: 0, grantedBytes: 5, reserved: 5 };
    expect(planNamedReservation(upload, [1, 2, 3], Infinity)).to.deep.equal({ count: 3, reserved: 11 });
    expect(planNamedReservation(upload, [1, 2, 3], 3)).to.deep.equal({ count: 2, reserved: 8 });
    // The store refuses it.
    expect(planNamedReservation(upload, [9], 3)).to.deep.equal({ count: 1, reserved: 14 });
    expect(planNamedReservation(upload, [], 0)).to.deep.equal({ count: 0, reserved: 5 });
    const announced = { expectedSize: 10, grantedBytes: 8, reserved: 10 };
    expect(planNamedReservation(announced, [2], 0)).to.deep.equal({ count: 1, reserved: 10 });
  });
});
