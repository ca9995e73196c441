/** The gateway's pure parts: ranges, names in headers, turns. */
import { expect } from 'chai';
import fc from 'fast-check';
import { parseRange } from '../../gateway/byte-range.js';
import { attachment } from '../../gateway/content-disposition.js';
import { Turns } from '../../gateway/turns.js';
import { codeOf } from '../support/codes.js';

describe('byte ranges', () => {
  it('are what RFC 9110 says, and otherwise the whole', () => {
    const whole = ['', 'bytes=', 'bytes=-', 'bytes=5-2', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=a-b', 'bytes=1'];
    for (const header of whole) expect(parseRange(header, 10), header).to.equal(undefined);
    expect(parseRange('bytes=0-0', 10)).to.deep.equal({ start: 0, end: 1 });
    expect(parseRange('bytes=4-', 10)).to.deep.equal({ start: 4, end: 10 });
    expect(parseRange('bytes=-4', 10)).to.deep.equal({ start: 6, end: 10 });
    expect(parseRange('bytes=-40', 10)).to.deep.equal({ start: 0, end: 10 });
    expect(parseRange('bytes=4-400', 10)).to.deep.equal({ start: 4, end: 10 });
    for (const header of ['bytes=10-', 'bytes=-0']) expect(() => parseRange(header, 10), header).to.throw('10 bytes');
    expect(() => parseRange('bytes=0-', 0)).to.throw('0 bytes');
  });

  it('never lead out of the file', () => {
    const part = fc.oneof(fc.nat().map(String), fc.constant(''));
    fc.assert(
      fc.property(part, part, fc.nat(), (first, last, size) => {
        let range;
        try {
          range = parseRange(`bytes=${first}-${last}`, size);
        } catch {
          return;
        }
        if (range !== undefined)
          expect(0 <= range.start && range.start < range.end && range.end <= size).to.equal(true);
      }),
    );
  });
});

describe('the name of a download', () => {
  it('comes back whole from the header, and can break out of nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (name) => {
        const header = attachment(name);
        const found = /^attachment; filename="[ !#$&-[\]-~]*"; filename\*=UTF-8''([A-Za-z0-9!#$&+.^_`|~%-]*)$/.exec(
          header,
        );
        expect(found, header).not.to.equal(null);
        expect(decodeURIComponent(found?.[1] ?? '')).to.equal(name);
      }),
    );
  });
});

describe('turns', () => {
  const never = new AbortController().signal;

  it('let so many run at once, the others in their order, and refuse beyond that', async () => {
    const turns = new Turns(2, 2);
    const ends: (() => void)[] = [];
    const begun: number[] = [];
    const take = (number: number): Promise<void> =>
      turns.take(never, () => {
        begun.push(number);
        return new Promise((resolve) => ends.push(resolve));
      });
    const running = [take(1), take(2), take(3), take(4)];
    await Promise.resolve();
    expect(begun).to.deep.equal([1, 2]);
    expect(await codeOf(() => take(5))).to.equal('unavailable');
    ends[0]?.();
    await running[0];
    await new Promise(setImmediate);
    expect(begun).to.deep.equal([1, 2, 3]);
    for (let at = 1; at < 4; at += 1) {
      ends[at]?.();
      await running[at];
      await new Promise(setImmediate);
    }
    expect(begun).to.deep.equal([1, 2, 3, 4]);
  });

  it('are given up by who goes away, and lost by nobody', async () => {
    const turns = new Turns(1, 5);
    let end = (): void => undefined;
    const first = turns.take(never, () => new Promise<void>((resolve) => (end = resolve)));
    const gone = new AbortController();
    const second = codeOf(() => turns.take(gone.signal, () => Promise.resolve()));
    const third = turns.take(never, () => Promise.resolve('third'));
    gone.abort();
    expect(await second).to.equal('cancelled');
    end();
    await first;
    expect(await third).to.equal('third');
    expect(await codeOf(() => turns.take(never, () => Promise.reject(new Error('x'))))).to.equal('Error: x');
    expect(await turns.take(never, () => Promise.resolve('after'))).to.equal('after');
  });
});
