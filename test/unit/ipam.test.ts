import { expect } from 'chai';
import fc from 'fast-check';
import { parseSubnet } from '../../controller/hosting/subnet.js';

describe('subnets', () => {
  it('give the first address to the host and the following ones to the slots', () => {
    const subnet = parseSubnet('10.0.42.0/24');
    expect(subnet.hostAddress).to.equal('10.0.42.1');
    expect(subnet.addressOf(0)).to.equal('10.0.42.2');
    expect(subnet.slots).to.equal(253);
    expect(subnet.addressOf(252)).to.equal('10.0.42.254');
    expect(() => subnet.addressOf(253)).to.throw(RangeError);
    expect(parseSubnet('10.0.40.0/22')).to.include({ slots: 1000, prefixLength: 22 });
    expect(parseSubnet('10.0.40.0/22').addressOf(999)).to.equal('10.0.43.233');
  });

  it('never repeat an address and never use the network, host or broadcast address', () => {
    const text = (number: number): string => `10.1.${Math.floor(number / 256)}.${number % 256}`;
    fc.assert(
      fc.property(fc.integer({ min: 22, max: 29 }), fc.integer({ min: 0, max: 31 }), (length, block) => {
        const size = 2 ** (32 - length);
        const first = block * size;
        const subnet = parseSubnet(`${text(first)}/${length}`);
        const all = Array.from({ length: subnet.slots }, (_, slot) => subnet.addressOf(slot));
        expect(new Set(all).size).to.equal(all.length);
        expect(all.every((address) => subnet.covers(address))).to.equal(true);
        for (const taken of [text(first), subnet.hostAddress, text(first + size - 1)]) {
          expect(all).not.to.include(taken);
          expect(subnet.covers(taken)).to.equal(true);
        }
        for (const beyond of [text(first + size), first === 0 ? '10.0.255.255' : text(first - 1)])
          expect(subnet.covers(beyond), beyond).to.equal(false);
      }),
    );
  });

  it('refuse what is not the first address of a network', () => {
    for (const cidr of [
      '10.0.42.0/22',
      '10.0.40.0/21',
      '10.0.42.1/24',
      '10.0.42.4/29',
      '10.0.300.0/24',
      '10.0.42/24',
      'x/24',
    ]) {
      expect(() => parseSubnet(cidr), cidr).to.throw(/not the first address/);
    }
  });
});
