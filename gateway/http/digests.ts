/**
 * Checks a body against its Content-MD5 (RFC 1864), Digest (RFC 3230), Content-Digest and Repr-Digest (RFC 9530).
 * Bodies are accepted without content coding, so all of these refer to the bytes as received. A header that can't be
 * checked is refused: its sender would take the answer for a proof.
 */
import { createHash, type Hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { invalid } from './http-error.js';

/** Node's names of the algorithms, by their names in both registries, in lower case. */
const ALGORITHMS: Readonly<Record<string, string>> = {
  md5: 'md5',
  sha: 'sha1',
  'sha-256': 'sha256',
  'sha-512': 'sha512',
};
const FIELDS = ['content-digest', 'repr-digest', 'digest'] as const;
export const INTEGRITY_HEADERS: readonly string[] = ['content-md5', ...FIELDS];

interface Expected {
  readonly field: string;
  readonly hash: Hash;
  readonly value: Buffer;
}

export class Digests {
  private constructor(private readonly expected: readonly Expected[]) {}

  /**
   * Undefined if there is nothing to check. Code: invalid_argument (malformed, in the trailer, or no known algorithm).
   */
  static of(headers: IncomingHttpHeaders): Digests | undefined {
    const announced = textOf(headers.trailer).split(',');
    for (const name of announced.map((given) => given.trim().toLowerCase())) {
      if (INTEGRITY_HEADERS.includes(name)) throw invalid(name, 'must be a header, and not come after the body');
    }
    const md5 = textOf(headers['content-md5']);
    const expected = [
      ...(md5 === '' ? [] : [expectation('content-md5', 'md5', md5.trim())]),
      ...FIELDS.flatMap((field) => membersOf(field, textOf(headers[field]))),
    ];
    return expected.length === 0 ? undefined : new Digests(expected);
  }

  update(piece: Uint8Array): void {
    for (const { hash } of this.expected) hash.update(piece);
  }

  /** Call once, after the last piece. Code: invalid_argument. */
  check(): void {
    for (const { field, hash, value } of this.expected) {
      if (!hash.digest().equals(value)) throw invalid(field, 'does not match the bytes received; send them again');
    }
  }

  /** Passes the pieces through; throws after the last one if a digest does not match. Code: invalid_argument. */
  async *through(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of body) {
      this.update(piece);
      yield piece;
    }
    this.check();
  }
}

const textOf = (value: string | string[] | undefined): string =>
  Array.isArray(value) ? value.join(',') : (value ?? '');

function membersOf(field: (typeof FIELDS)[number], text: string): Expected[] {
  if (text === '') return [];
  const pattern = field === 'digest' ? /^([A-Za-z0-9-]+)=(\S+)$/ : /^([a-z0-9-]+)=:(\S*):$/;
  const known = text.split(',').flatMap((member) => {
    const [, name, value] = pattern.exec(member.trim()) ?? [];
    if (name === undefined || value === undefined) throw invalid(field, 'is malformed');
    return Object.hasOwn(ALGORITHMS, name.toLowerCase()) ? [expectation(field, name.toLowerCase(), value)] : [];
  });
  if (known.length === 0) throw invalid(field, `must be of one of these: ${Object.keys(ALGORITHMS).join(', ')}`);
  return known;
}

function expectation(field: string, name: string, base64: string): Expected {
  const hash = createHash(ALGORITHMS[name] ?? name);
  const value = Buffer.from(base64, 'base64');
  const isWhole = value.length === hash.copy().digest().length && value.toString('base64') === base64;
  if (!isWhole) throw invalid(field, `must be base64 of a whole ${name} sum`);
  return { field, hash, value };
}
