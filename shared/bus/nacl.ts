/**
 * The part of tweetnacl that @nats-io/nkeys uses, on Node's own OpenSSL; the build puts it in that package's place
 * (deploy/build.mjs). tweetnacl computes in JavaScript, which was a third of the processor time of a controller's start
 * and a part of each agent's. The curve keys of nkeys, which nobody here has, are not there.
 */
import { createPrivateKey, createPublicKey, randomBytes, sign, verify, type KeyObject } from 'node:crypto';

/** DER of RFC 8410 up to where the 32 bytes of the key stand. */
const PRIVATE_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');
const PUBLIC_HEAD = Buffer.from('302a300506032b6570032100', 'hex');
const SEED_BYTES = 32;

const privateKey = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PRIVATE_HEAD, seed]), format: 'der', type: 'pkcs8' });

interface Pair {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

/**
 * Pairs of the seeds that were asked for last. nkeys asks anew for each use of a key, five times for one node's credentials; each
 * time is half a millisecond of a controller that does nothing else meanwhile.
 */
const pairs = new Map<string, Pair>();
const MOST_PAIRS = 4;

function fromSeed(seed: Uint8Array): Pair {
  const name = Buffer.from(seed).toString('latin1');
  const pair = pairs.get(name) ?? pairOf(seed);
  // The last one asked for is the last to go.
  pairs.delete(name);
  pairs.set(name, pair);
  for (const oldest of [...pairs.keys()].slice(0, -MOST_PAIRS)) pairs.delete(oldest);
  return { publicKey: pair.publicKey.slice(), secretKey: pair.secretKey.slice() };
}

/** The secret key is the seed with the public key behind it, as in tweetnacl. */
function pairOf(seed: Uint8Array): Pair {
  const exported = createPublicKey(privateKey(seed)).export({ format: 'der', type: 'spki' });
  const publicKey = Uint8Array.from(exported.subarray(PUBLIC_HEAD.length));
  return { publicKey, secretKey: Uint8Array.from([...seed, ...publicKey]) };
}

const detached = (message: Uint8Array, secretKey: Uint8Array): Uint8Array =>
  Uint8Array.from(sign(null, message, privateKey(secretKey.subarray(0, SEED_BYTES))));

detached.verify = (message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean => {
  const key = createPublicKey({ key: Buffer.concat([PUBLIC_HEAD, publicKey]), format: 'der', type: 'spki' });
  return verify(null, message, key, signature);
};

export default {
  randomBytes: (length: number): Uint8Array => Uint8Array.from(randomBytes(length)),
  sign: { keyPair: { fromSeed }, detached },
};
