/**
 * Chunk tokens and receipts: short JSON claims signed with Ed25519 (RFC 8032), written `base64url(claims).base64url(signature)`.
 * The controller signs tokens; agents hold only its public key, so that a captured agent can't grant anything.
 * Each agent signs receipts with a key of its own; the controller learns the public half from its heartbeats.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { NexusError } from './errors.js';

export type ChunkOperation = 'write' | 'read';

/** Where the first node forwards a chunk while it writes it. */
export interface ForwardTarget {
  readonly node: string;
  readonly address: string;
  readonly token: string;
}

/**
 * Identifies the part of the file that a chunk holds. Agents store it beside the chunk, so that `nexus state rebuild`
 * can reassemble files from the volumes alone when the database is lost.
 */
export interface ChunkOrigin {
  readonly file: string;
  readonly index: number;
  readonly name: string;
  readonly owner: string;
  readonly replicas: number;
  /** Bytes that the sender expected the whole file to have; 0: unknown. */
  readonly expected: number;
  /** When the file was begun, ms since the epoch. */
  readonly created: number;
  /** Offset of its first byte in a file whose chunks have explicit sizes; undefined in any other. */
  readonly offset?: number;
}

export interface ChunkTokenClaims {
  readonly op: ChunkOperation;
  readonly chunk: string;
  /** The only node that may accept it. */
  readonly node: string;
  /** Write: the most bytes the chunk may have. Read: its size. */
  readonly size: number;
  /** Expiry, ms since the epoch. */
  readonly exp: number;
  /** Further replicas, for a write. */
  readonly forward?: readonly ForwardTarget[];
  /** For a write: the origin that the agent stores beside the chunk. */
  readonly of?: ChunkOrigin;
  /**
   * For a read: the user it was issued to. Agents do not check it; the gateway accepts the token from this user only.
   */
  readonly holder?: string;
}

/** The right to write many small chunks to one node by one request. */
export interface PackTokenClaims {
  readonly op: 'write-pack';
  readonly node: string;
  readonly exp: number;
  /** As in the token of a single chunk. */
  readonly chunks: readonly Required<Pick<ChunkTokenClaims, 'chunk' | 'size' | 'of'>>[];
  readonly forward?: readonly ForwardTarget[];
}

/** As ReceiptClaims, for chunks that became durable together. */
export interface PackReceiptClaims {
  readonly node: string;
  readonly at: number;
  readonly chunks: readonly Pick<ReceiptClaims, 'chunk' | 'size' | 'md5'>[];
}

export interface ReceiptClaims {
  readonly chunk: string;
  readonly node: string;
  readonly size: number;
  /** Lower-case hex. */
  readonly md5: string;
  /** ms since the epoch. */
  readonly at: number;
}

export interface SigningKey {
  readonly privateKey: KeyObject;
  /** Raw 32 bytes. */
  readonly publicKey: Buffer;
}

export function generateSigningKey(): SigningKey {
  return signingKeyOf(generateKeyPairSync('ed25519').privateKey);
}

/** PKCS#8 PEM, for a file of mode 0600. */
export const exportSigningKey = (key: SigningKey): string =>
  key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

export const importSigningKey = (pem: string): SigningKey => signingKeyOf(createPrivateKey(pem));

function signingKeyOf(privateKey: KeyObject): SigningKey {
  const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
  return { privateKey, publicKey: Buffer.from(jwk.x ?? '', 'base64url') };
}

/** A verifying key from its raw 32 bytes. */
export function publicKeyOf(raw: Uint8Array): KeyObject {
  const x = Buffer.from(raw).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

type Claims = ChunkTokenClaims | PackTokenClaims | ReceiptClaims | PackReceiptClaims;

export function signClaims(claims: Claims, key: SigningKey): string {
  const body = Buffer.from(JSON.stringify(claims));
  return `${body.toString('base64url')}.${sign(null, body, key.privateKey).toString('base64url')}`;
}

/**
 * Returns the claims of a token with a valid signature. Does not check expiry, node or operation. Code:
 * unauthenticated.
 */
function verifiedClaims(text: string, key: KeyObject): Record<string, unknown> {
  const [body, signature, ...rest] = text.split('.');
  if (body === undefined || signature === undefined || rest.length > 0) throw refused('it is malformed');
  const bytes = Buffer.from(body, 'base64url');
  if (!verify(null, bytes, key, Buffer.from(signature, 'base64url'))) throw refused('its signature is wrong');
  const claims: unknown = JSON.parse(bytes.toString('utf8'));
  if (typeof claims !== 'object' || claims === null) throw refused('it is malformed');
  return claims as Record<string, unknown>;
}

const refused = (why: string): NexusError =>
  new NexusError('unauthenticated', `the chunk token was rejected: ${why}; ask the controller for a new grant`);

export interface ExpectedUse {
  readonly op: ChunkOperation;
  readonly chunk: string;
  readonly node: string;
  readonly nowMs: number;
}

/** Checks signature, operation, chunk, node and time. Codes: unauthenticated, permission_denied. */
export function verifyChunkToken(text: string, key: KeyObject, use: ExpectedUse): ChunkTokenClaims {
  const claims = verifiedClaims(text, key) as unknown as ChunkTokenClaims;
  if (!(use.nowMs < claims.exp)) throw refused('it has expired');
  if (claims.op !== use.op || claims.chunk !== use.chunk || claims.node !== use.node) {
    throw new NexusError('permission_denied', 'the chunk token is for another operation, chunk or node');
  }
  return claims;
}

/** Checks signature, operation, node and time. Codes: unauthenticated, permission_denied. */
export function verifyPackToken(
  text: string,
  key: KeyObject,
  use: Pick<ExpectedUse, 'node' | 'nowMs'>,
): PackTokenClaims {
  const found = verifiedClaims(text, key);
  const claims = found as unknown as PackTokenClaims;
  if (!(use.nowMs < claims.exp)) throw refused('it has expired');
  if (found['op'] !== 'write-pack' || claims.node !== use.node)
    throw new NexusError('permission_denied', 'the token is for another operation or node');
  return claims;
}

/** As verifyReceipt, for the receipt of a pack; its claims are as the agent wrote them, and to be checked. */
export const verifyPackReceipt = (text: string, key: KeyObject): unknown => verifiedClaims(text, key);

/** Checks an agent's signature under a receipt. Code: unauthenticated. */
export function verifyReceipt(text: string, key: KeyObject): ReceiptClaims {
  return verifiedClaims(text, key) as unknown as ReceiptClaims;
}

/** Reads a receipt's claims without verifying them, only to find the key to verify it with. Code: invalid_argument. */
export function peekReceipt(text: string): Pick<ReceiptClaims, 'node' | 'chunk'> {
  const { node, chunk } = peekClaims(text, 'a chunk receipt') as ReceiptClaims;
  return { node, chunk };
}

/**
 * Returns the user a token was issued to, without verifying it: enough to refuse other users before the token goes on
 * to an agent, which verifies it. Undefined if it was issued to agents. Code: invalid_argument.
 */
export function peekHolder(text: string): string | undefined {
  const { of, holder } = peekClaims(text, 'the chunk token') as ChunkTokenClaims;
  return holder ?? of?.owner;
}

function peekClaims(text: string, what: string): object {
  try {
    const claims: unknown = JSON.parse(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString('utf8'));
    if (typeof claims === 'object' && claims !== null) return claims;
  } catch {
    // Reported below, like JSON that is not an object.
  }
  throw new NexusError('invalid_argument', `${what} is malformed`);
}
