/**
 * The keys of identity: the one that signs tokens, the retired ones that still verify, and the one that codes are hashed
 * with. All lie in one file (mode 0600) that is replaced in one step, so that a rotation is whole or has not happened.
 * Made at the first start; a retired key's private half is destroyed with its rotation.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { Limit } from '../../shared/async/turns.js';
import { z } from 'zod';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import { writeSecret } from '../host/secret-file.js';

/** Each rotation within one token's life leaves a key that has to be tried and published. */
const MAX_RETIRED = 16;

const fileSchema = z.strictObject({
  codeKey: z.string().regex(/^[0-9a-f]{64}$/),
  /** PKCS #8, PEM. */
  signing: z.string(),
  retired: z.array(z.strictObject({ publicKey: z.string(), verifiesUntil: z.number() })),
});
type KeyFile = z.infer<typeof fileSchema>;

/** As in a JWK of the curve P-256. */
export interface PublicKeyShape {
  readonly kid: string;
  readonly x: string;
  readonly y: string;
}

interface Verifying {
  readonly shape: PublicKeyShape;
  readonly publicKey: KeyObject;
  /** ms since the epoch; undefined while it signs. */
  readonly verifiesUntil: number | undefined;
}

export class IdentityKeys {
  readonly #rotating = new Limit(1);
  #signing: KeyObject;
  #verifying: readonly Verifying[];

  private constructor(
    private readonly path: string,
    private readonly clock: Clock,
    private file: KeyFile,
  ) {
    this.#signing = createPrivateKey(file.signing);
    this.#verifying = verifyingKeys(file);
  }

  /** Codes: data_loss (damaged), failed_precondition (others can read it). */
  static async load(path: string, clock: Clock): Promise<IdentityKeys> {
    try {
      const text = await readFile(path, 'utf8');
      if (((await stat(path)).mode & 0o077) !== 0) {
        throw new NexusError('failed_precondition', `${path} can be read by others; chmod 600 it, then rotate the key`);
      }
      return new IdentityKeys(path, clock, parseKeyFile(text, path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const file: KeyFile = { codeKey: randomBytes(32).toString('hex'), signing: newSigningKey(), retired: [] };
    await writeSecret(path, JSON.stringify(file));
    return new IdentityKeys(path, clock, file);
  }

  get codeKey(): Uint8Array {
    return Buffer.from(this.file.codeKey, 'hex');
  }

  get signing(): { readonly kid: string; readonly privateKey: KeyObject } {
    return { kid: this.#verifying[0]?.shape.kid ?? '', privateKey: this.#signing };
  }

  /** The key that a token names, while it may still verify. */
  verifying(kid: string): KeyObject | undefined {
    return this.#valid().find((key) => key.shape.kid === kid)?.publicKey;
  }

  /** The signing one first. */
  published(): readonly PublicKeyShape[] {
    return this.#valid().map((key) => key.shape);
  }

  /**
   * Signs with a new key from now on. The old ones verify for `verifyForMs` more, which has to be the life of a token;
   * with 0 all tokens that are out are void. Answers the new key's id. Code: resource_exhausted (rotated too often).
   */
  rotate(verifyForMs: number): Promise<string> {
    return this.#rotating.run(async () => {
      const now = this.clock.now();
      const current = createPublicKey(this.#signing).export({ type: 'spki', format: 'pem' });
      const old = { publicKey: current.toString(), verifiesUntil: now + verifyForMs };
      const kept = verifyForMs === 0 ? [] : [old, ...this.file.retired.filter((key) => key.verifiesUntil > now)];
      if (kept.length > MAX_RETIRED) {
        throw new NexusError(
          'resource_exhausted',
          `${MAX_RETIRED} old keys still verify tokens; wait until the first has expired, or make old tokens void`,
        );
      }
      const file = { ...this.file, signing: newSigningKey(), retired: kept };
      await writeSecret(this.path, JSON.stringify(file));
      this.file = file;
      this.#signing = createPrivateKey(file.signing);
      this.#verifying = verifyingKeys(file);
      return this.signing.kid;
    });
  }

  #valid(): readonly Verifying[] {
    const now = this.clock.now();
    return this.#verifying.filter((key) => key.verifiesUntil === undefined || now < key.verifiesUntil);
  }
}

function parseKeyFile(text: string, path: string): KeyFile {
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch (error) {
    const advice = 'restore it from a backup, or move it away: then all users have to log in again';
    throw new NexusError('data_loss', `${path} is damaged; ${advice}`, {}, { cause: error });
  }
}

const newSigningKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

const verifyingKeys = (file: KeyFile): Verifying[] => [
  verifyingKey(file.signing, undefined),
  ...file.retired.map((key) => verifyingKey(key.publicKey, key.verifiesUntil)),
];

function verifyingKey(pem: string, verifiesUntil: number | undefined): Verifying {
  const publicKey = createPublicKey(pem);
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  return { shape: { kid: thumbprint(x, y), x, y }, publicKey, verifiesUntil };
}

/** RFC 7638: the id follows from the key. */
const thumbprint = (x: string, y: string): string =>
  createHash('sha256').update(`{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`).digest('base64url');
