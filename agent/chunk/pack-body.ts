/**
 * Takes the body of a pack apart as it comes: the head, then one chunk after the other, of which it holds one at a time.
 * Checks of the head its form alone, not what it says.
 */
import type { PackHead } from '../../shared/data-plane.js';
import { NexusError } from '../../shared/errors.js';
import { isChunkId } from '../../shared/ids.js';
import { KIB, MAX_PACK_BYTES, MAX_PACKED_FILES } from '../../shared/limits.js';
import { MD5_PATTERN } from './layout.js';

const LENGTH_BYTES = 4;
/** Token and list of the most chunks, each with its file's name. */
const MAX_HEAD_BYTES = 512 * KIB;

export interface PackParts {
  readonly onHead: (head: PackHead) => void;
  /** `at` is the chunk's place in the head. May return a promise to wait for before the next piece. */
  readonly onChunk: (at: number, data: Buffer) => Promise<void> | undefined;
}

export class PackBody {
  #pieces: Buffer[] = [];
  #have = 0;
  #need = LENGTH_BYTES;
  #isLengthKnown = false;
  #head: PackHead | undefined;
  #next = 0;

  constructor(private readonly parts: PackParts) {}

  /** Code: invalid_argument; those of the parts. */
  take(piece: Buffer): Promise<void> | undefined {
    const waits: Promise<void>[] = [];
    for (let rest = piece; rest.length > 0;) {
      if (this.#need === 0) throw malformed('it goes on behind its last chunk');
      const part = rest.subarray(0, this.#need - this.#have);
      rest = rest.subarray(part.length);
      this.#pieces.push(part);
      this.#have += part.length;
      if (this.#have < this.#need) break;
      const [only, ...others] = this.#pieces;
      const whole = only !== undefined && others.length === 0 ? only : Buffer.concat(this.#pieces);
      this.#pieces = [];
      this.#have = 0;
      const wait = this.#whole(whole);
      if (wait !== undefined) waits.push(wait);
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
  }

  /** To be called at the end of the body. Code: invalid_argument. */
  assertWhole(): void {
    if (this.#need !== 0) throw malformed('it ends too early');
  }

  #whole(data: Buffer): Promise<void> | undefined {
    if (!this.#isLengthKnown) {
      this.#isLengthKnown = true;
      this.#need = data.readUInt32BE();
      if (this.#need === 0 || this.#need > MAX_HEAD_BYTES) throw malformed('the length of its head is out of bounds');
      return undefined;
    }
    if (this.#head === undefined) {
      this.#head = headIn(data.toString('utf8'));
      this.#expectNext();
      this.parts.onHead(this.#head);
      return undefined;
    }
    const at = this.#next;
    this.#next += 1;
    this.#expectNext();
    return this.parts.onChunk(at, data);
  }

  #expectNext(): void {
    this.#need = this.#head?.chunks[this.#next]?.size ?? 0;
  }
}

function headIn(text: string): PackHead {
  const { token, chunks } = parsed(text);
  if (typeof token !== 'string' || !Array.isArray(chunks)) throw malformed('its head is malformed');
  if (chunks.length === 0 || chunks.length > MAX_PACKED_FILES)
    throw malformed(`it must have 1 to ${MAX_PACKED_FILES} chunks`);
  const listed = (chunks as unknown[]).map(listedChunk);
  if (new Set(listed.map(({ chunk }) => chunk)).size < listed.length) throw malformed('it has a chunk twice');
  if (listed.reduce((sum, { size }) => sum + size, 0) > MAX_PACK_BYTES) throw malformed('it is too large');
  return { token, chunks: listed };
}

function listedChunk(value: unknown): PackHead['chunks'][number] {
  const { chunk, size, md5 } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  if (typeof chunk !== 'string' || !isChunkId(chunk)) throw malformed('a chunk id is 32 lower-case hex digits');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 1)
    throw malformed(`chunk ${chunk} has no size`);
  if (typeof md5 !== 'string' || !MD5_PATTERN.test(md5)) throw malformed(`chunk ${chunk} has no MD5`);
  return { chunk, size, md5 };
}

function parsed(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Reported below, like JSON that is not an object.
  }
  throw malformed('its head is no JSON object');
}

const malformed = (why: string): NexusError => new NexusError('invalid_argument', `the pack is malformed: ${why}`);
