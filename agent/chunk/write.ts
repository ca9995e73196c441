/**
 * One write of a chunk: checks the content against what the sender announced, and only then publishes it. The server
 * and the store meet here.
 */
import { createHash } from 'node:crypto';
import type { ChunkOrigin } from '../../shared/chunk-token.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import type { ChunkFacts } from './layout.js';
import type { TemporaryFile } from './temporary-file.js';
import type { Durability } from './together.js';

/** Content as the sender announced it. */
export interface ExpectedChunk {
  readonly size: number;
  /** Lower-case hex. */
  readonly md5: string;
  /** Origin of the chunk, from the controller's token or command. */
  readonly of?: ChunkOrigin;
}

export interface ChunkWriteSteps {
  /** Aborted when a later writer takes this one's place. */
  readonly signal: AbortSignal;
  /** Makes the checked content durable under its name. */
  publish(durability?: Durability): Promise<ChunkFacts>;
  /** Called when the MD5 differs from the announced one. */
  onMismatch(): void;
  /** Called once, at the end, whatever happened. */
  onEnd(): void;
}

export class ChunkWrite {
  readonly #hash = createHash('md5');
  #bytes = 0;
  #ended = false;

  constructor(
    private readonly chunk: ChunkId,
    private readonly expected: ExpectedChunk,
    /** undefined: the chunk is there already; its content is checked again and not written twice. */
    private readonly file: TemporaryFile | undefined,
    private readonly steps: ChunkWriteSteps,
  ) {}

  /** True if this node has the chunk already, so that nothing is written. */
  get repeated(): boolean {
    return this.file === undefined;
  }

  /** Aborted, with the error to end with, when a later writer takes this one's place. */
  get superseded(): AbortSignal {
    return this.steps.signal;
  }

  /**
   * Returns a promise to await before the next piece if the volume is slower than the sender. Codes: invalid_argument,
   * aborted.
   */
  write(piece: Buffer): Promise<void> | undefined {
    this.steps.signal.throwIfAborted();
    this.#bytes += piece.length;
    if (this.#bytes > this.expected.size) throw this.#wrongSize('more than');
    this.#hash.update(piece);
    return this.file?.write(piece);
  }

  /** Resolves when the chunk is durable, by itself if nothing else is said. Codes: data_loss, invalid_argument, aborted, resource_exhausted, failed_precondition. */
  async commit(durability?: Durability): Promise<ChunkFacts> {
    this.steps.signal.throwIfAborted();
    if (this.#bytes < this.expected.size) throw this.#wrongSize(`${this.#bytes}, not`);
    const md5 = this.#hash.digest('hex');
    if (md5 !== this.expected.md5) {
      this.steps.onMismatch();
      throw new NexusError(
        'data_loss',
        `chunk ${this.chunk} arrived with MD5 ${md5}, not ${this.expected.md5}; send it again`,
        {
          chunk: this.chunk,
          md5,
          expected_md5: this.expected.md5,
        },
      );
    }
    await this.file?.finish();
    return await this.steps.publish(durability);
  }

  #wrongSize(how: string): NexusError {
    return new NexusError('invalid_argument', `chunk ${this.chunk} has ${how} ${this.expected.size} bytes`, {
      chunk: this.chunk,
    });
  }

  /** Removes whatever was not committed. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    try {
      await this.file?.[Symbol.asyncDispose]();
    } finally {
      this.steps.onEnd();
    }
  }
}
