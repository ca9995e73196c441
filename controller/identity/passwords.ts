/**
 * Passwords are kept as scrypt hashes (memory-hard, from Node itself). The parameters stand with each hash, so that they
 * can be raised later without locking anybody out. Hashing is slow on purpose: it is bounded in number, and so is the
 * queue before it, so that a flood of logins can't take the processors from the rest of the controller.
 */
import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { Limit } from '../../shared/async/turns.js';
import { NexusError } from '../../shared/errors.js';
import type { PasswordHasher } from './port.js';
import { normalisePassword } from './rules.js';

export interface ScryptCost {
  /** Binary logarithm of the iterations; memory is 2^logN * 128 * blockSize bytes. */
  readonly logN: number;
  readonly blockSize: number;
  readonly parallelism: number;
}

/** 32 MiB, three passes: what OWASP recommends for scrypt; about 0.2 s of one core. */
const DEFAULT_COST: ScryptCost = { logN: 15, blockSize: 8, parallelism: 3 };

/** Half of the cores, two at the most: Node's pool has four threads, and files and name look-ups need some, too. */
const MAX_CONCURRENT = Math.max(1, Math.min(2, Math.floor(availableParallelism() / 2)));
/** Some ten seconds of waiting; who comes later is told to try again. */
const MAX_WAITING = 50;

const KEY_BYTES = 32;
const SALT_BYTES = 16;
const FORMAT = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9_-]+)\$([A-Za-z0-9_-]+)$/;

export class ScryptHasher implements PasswordHasher {
  readonly decoy: string;
  readonly #running = new Limit(MAX_CONCURRENT, {
    mostWaiting: MAX_WAITING,
    tooMany: () => new NexusError('resource_exhausted', 'too many logins at this moment; try again in some seconds'),
  });

  constructor(private readonly cost: ScryptCost = DEFAULT_COST) {
    this.decoy = format(cost, randomBytes(SALT_BYTES), randomBytes(KEY_BYTES));
  }

  async hash(password: string): Promise<string> {
    const salt = randomBytes(SALT_BYTES);
    return format(this.cost, salt, await this.#derive(password, salt, this.cost));
  }

  async verify(password: string, hash: string): Promise<boolean> {
    const [, logN, blockSize, parallelism, salt, expected] = FORMAT.exec(hash) ?? [];
    if (salt === undefined || expected === undefined) {
      throw new NexusError('data_loss', 'a stored password hash is damaged; restore auth.db from a backup');
    }
    const cost = { logN: Number(logN), blockSize: Number(blockSize), parallelism: Number(parallelism) };
    const key = await this.#derive(password, Buffer.from(salt, 'base64url'), cost);
    return timingSafeEqual(key, Buffer.from(expected, 'base64url'));
  }

  async #derive(password: string, salt: Buffer, cost: ScryptCost): Promise<Buffer> {
    return await this.#running.run(() => derive(normalisePassword(password), salt, cost));
  }
}

const format = ({ logN, blockSize, parallelism }: ScryptCost, salt: Buffer, key: Buffer): string =>
  `$scrypt$ln=${logN},r=${blockSize},p=${parallelism}$${salt.toString('base64url')}$${key.toString('base64url')}`;

const scryptAsync = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

async function derive(password: string, salt: Buffer, cost: ScryptCost): Promise<Buffer> {
  const N = 2 ** cost.logN;
  const memory = 128 * N * cost.blockSize;
  // Node refuses what reaches its own limit, and OpenSSL counts some blocks more than the table.
  const options: ScryptOptions = { N, r: cost.blockSize, p: cost.parallelism, maxmem: 2 * memory };
  return await scryptAsync(password, salt, KEY_BYTES, options);
}
