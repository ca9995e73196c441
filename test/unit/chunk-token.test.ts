import { expect } from 'chai';
import {
  exportSigningKey,
  generateSigningKey,
  importSigningKey,
  peekReceipt,
  publicKeyOf,
  signClaims,
  verifyChunkToken,
  verifyReceipt,
  type ChunkTokenClaims,
} from '../../shared/chunk-token.js';
import { NexusError } from '../../shared/errors.js';

const key = generateSigningKey();
const verifier = publicKeyOf(key.publicKey);
const claims: ChunkTokenClaims = { op: 'write', chunk: 'a'.repeat(32), node: 'b'.repeat(12), size: 100, exp: 2000 };
const use = { op: 'write', chunk: claims.chunk, node: claims.node, nowMs: 1000 } as const;

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    return error instanceof NexusError ? error.code : String(error);
  }
  return 'accepted';
};

describe('chunk tokens', () => {
  it('are accepted for exactly the use they were signed for', () => {
    expect(verifyChunkToken(signClaims(claims, key), verifier, use)).to.deep.equal(claims);
  });

  it('are refused for another operation, chunk or node', () => {
    const token = signClaims(claims, key);
    expect(codeOf(() => verifyChunkToken(token, verifier, { ...use, op: 'read' }))).to.equal('permission_denied');
    expect(codeOf(() => verifyChunkToken(token, verifier, { ...use, chunk: 'c'.repeat(32) }))).to.equal(
      'permission_denied',
    );
    expect(codeOf(() => verifyChunkToken(token, verifier, { ...use, node: 'c'.repeat(12) }))).to.equal(
      'permission_denied',
    );
  });

  it('are refused at and after their expiry', () => {
    const token = signClaims(claims, key);
    expect(codeOf(() => verifyChunkToken(token, verifier, { ...use, nowMs: 1999 }))).to.equal('accepted');
    expect(codeOf(() => verifyChunkToken(token, verifier, { ...use, nowMs: 2000 }))).to.equal('unauthenticated');
  });

  it('are refused without an expiry, however it is left out', () => {
    for (const exp of [undefined, null, 'later', Number.NaN]) {
      const token = signClaims({ ...claims, exp: exp as unknown as number }, key);
      expect(
        codeOf(() => verifyChunkToken(token, verifier, use)),
        String(exp),
      ).to.equal('unauthenticated');
    }
  });

  it('are refused when signed by another key, changed or malformed', () => {
    const other = signClaims(claims, generateSigningKey());
    const [, signature = ''] = signClaims(claims, key).split('.');
    const changed = `${Buffer.from(JSON.stringify({ ...claims, size: 1e9 })).toString('base64url')}.${signature}`;
    for (const token of [other, changed, '', '.', 'a.b', 'a.b.c', signClaims(claims, key).slice(0, -4)]) {
      expect(
        codeOf(() => verifyChunkToken(token, verifier, use)),
        token,
      ).to.equal('unauthenticated');
    }
  });
});

describe('receipts', () => {
  const receipt = { chunk: claims.chunk, node: claims.node, size: 5, md5: '0'.repeat(32), at: 1 };

  it('verify with the key that signed them and no other', () => {
    const text = signClaims(receipt, key);
    expect(verifyReceipt(text, verifier)).to.deep.equal(receipt);
    expect(codeOf(() => verifyReceipt(text, publicKeyOf(generateSigningKey().publicKey)))).to.equal('unauthenticated');
    expect(peekReceipt(text)).to.deep.equal({ node: receipt.node, chunk: receipt.chunk });
    expect(codeOf(() => peekReceipt('%%%'))).to.equal('invalid_argument');
  });

  it('survive the key being written to a file and read again', () => {
    const copy = importSigningKey(exportSigningKey(key));
    expect(copy.publicKey.equals(key.publicKey)).to.equal(true);
    expect(verifyReceipt(signClaims(receipt, copy), verifier)).to.deep.equal(receipt);
  });
});
