/**
 * The temporary file of a chunk on its way to the volume. Pieces are written in batches, at most two of which are in
 * memory: one being written, one being gathered.
 */
import { open, rm, type FileHandle } from 'node:fs/promises';
import { NexusError } from '../../shared/errors.js';
import { KIB } from '../../shared/limits.js';

/** Large enough that the cost of a call does not show, small enough for many writers at once. */
const BATCH_BYTES = 256 * KIB;

export class TemporaryFile {
  #batch: Buffer[] = [];
  #batchBytes = 0;
  #flushing: Promise<void> = Promise.resolve();

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    /** Called with the bytes that have gone to the file system. */
    private readonly onWritten: (bytes: number) => void,
  ) {}

  static async create(path: string, onWritten: (bytes: number) => void): Promise<TemporaryFile> {
    return new TemporaryFile(path, await open(path, 'wx', 0o600), onWritten);
  }

  /** A promise to wait for before the next piece, when the volume is slower than the sender. */
  write(piece: Buffer): Promise<void> | undefined {
    this.#batch.push(piece);
    this.#batchBytes += piece.length;
    return this.#batchBytes < BATCH_BYTES ? undefined : this.#flush();
  }

  /** Resolves when the batch before this one is written, so that writing and receiving overlap. */
  #flush(): Promise<void> {
    const batch = this.#batch;
    const bytes = this.#batchBytes;
    const previous = this.#flushing;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#flushing = previous.then(async () => {
      await this.#writeAll(batch, bytes);
      this.onWritten(bytes);
    });
    // The failure is met by whoever waits next: a later write, or finish.
    this.#flushing.catch(() => undefined);
    return previous;
  }

  async #writeAll(batch: Buffer[], bytes: number): Promise<void> {
    const { bytesWritten } = await this.file.writev(batch);
    // A regular file takes less than everything only when its file system is full.
    if (bytesWritten < bytes)
      throw new NexusError('resource_exhausted', 'the volume is full; remove files or add nodes');
  }

  /** Hands over what is left. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.#flushing;
  }

  async sync(): Promise<void> {
    await this.file.sync();
  }

  /**
   * Closes it, and removes it where it still has its temporary name. Idempotent. Never rejects: on a volume that fails,
   * what failed first is what there is to tell, and the next start removes what is left.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#flushing.catch(() => undefined);
    await this.file.close().catch(() => undefined);
    await rm(this.path, { force: true }).catch(() => undefined);
  }
}
