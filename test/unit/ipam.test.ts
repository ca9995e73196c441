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
  });

  it('never repeat an address and never use the network, host or broadcast address', () => {
    fc.assert(
      fc.property(fc.integer({ min: 24, max: 29 }), fc.integer({ min: 0, max: 31 }), (length, block) => {
        const size = 2 ** (32 - length);
        const first = (block * size) % 256;
        const subnet = parseSubnet(`10.1.2.${first}/${length}`);
        const all = Array.from({ length: subnet.slots }, (_, slot) => subnet.addressOf(slot));
        expect(new Set(all).size).to.equal(all.length);
        for (const taken of [`10.1.2.${first}`, subnet.hostAddress, `10.1.2.${first + size - 1}`]) {
          expect(all).not.to.include(taken);
        }
      }),
    );
  });

  it('refuse what is not the first address of a network', () => {
    for (const cidr of ['10.0.42.1/24', '10.0.42.4/29', '10.0.300.0/24', '10.0.42/24', 'x/24']) {
      expect(() => parseSubnet(cidr), cidr).to.throw(/not the first address/);
    }
  });
});
