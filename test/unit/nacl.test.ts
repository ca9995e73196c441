import { createUser } from '@nats-io/nkeys';
import { expect } from 'chai';
import nacl from '../../shared/bus/nacl.js';

/** nkeys as it comes, with tweetnacl: only the bundles have the other one in its place. */
describe('Ed25519 by OpenSSL in the place of tweetnacl', () => {
  it('makes the same keys and signatures, and checks them', () => {
    for (let round = 0; round < 5; round += 1) {
      const theirs = createUser();
      const seed = fromBase32(Buffer.from(theirs.getSeed()).toString()).subarray(2, 34);
      const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(seed);
      expect(Buffer.from(publicKey)).to.deep.equal(fromBase32(theirs.getPublicKey()).subarray(1, 33));
      const message = nacl.randomBytes(100);
      const signature = nacl.sign.detached(message, secretKey);
      expect(Buffer.from(signature)).to.deep.equal(Buffer.from(theirs.sign(message)));
      expect(theirs.verify(message, signature)).to.equal(true);
      expect(nacl.sign.detached.verify(message, signature, publicKey)).to.equal(true);
      expect(nacl.sign.detached.verify(nacl.randomBytes(100), signature, publicKey)).to.equal(false);
    }
  });

  it('gives the same pair again, whatever was done to the earlier one and however many came between', () => {
    const seeds = Array.from({ length: 9 }, () => nacl.randomBytes(32));
    const first = seeds.map((seed) => nacl.sign.keyPair.fromSeed(seed));
    const expected = first.map(({ secretKey }) => Buffer.from(secretKey));
    // As nkeys does when a key is cleared.
    for (const { publicKey, secretKey } of first) for (const bytes of [publicKey, secretKey]) bytes.fill(0);
    const again = [...seeds, ...seeds].map((seed) => Buffer.from(nacl.sign.keyPair.fromSeed(seed).secretKey));
    expect(again).to.deep.equal([...expected, ...expected]);
  });
});

/** As nkeys writes its keys. */
function fromBase32(text: string): Buffer {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = Array.from(text, (letter) => letters.indexOf(letter).toString(2).padStart(5, '0'));
  return Buffer.from((bits.join('').match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2)));
}
