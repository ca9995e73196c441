/**
 * The chunks of one volume. A chunk appears whole or not at all: temporary file, fsync, rename, fsync of the folder;
 * its sidecar is in place before it. Room is promised before the first byte is taken. All operations may be called
 * concurrently; of two writers of one chunk the later one wins.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import type { AgentLog } from '../log.js';
import type { VolumeHealth } from '../volume/health.js';
import { isDamage } from '../volume/errors.js';
import type { Volume } from '../volume/port.js';
import { moveOver, openRegular } from '../volume/regular-file.js';
import { listChunks, recoverInventory, type ListedChunk } from './inventory.js';
import { KeyedMutex } from '../../shared/async/turns.js';
import { ChunkLayout, readSidecar, syncFolder, type ChunkFacts } from './layout.js';
import { Tombstones } from './tombstones.js';
import { RoomLedger } from './room.js';
import { TemporaryFile } from './temporary-file.js';
import { ALONE, type Durability } from './together.js';
import { ChunkWrite, type ChunkWriteSteps, type ExpectedChunk } from './write.js';
import { Writers, type Writer } from './writers.js';

export interface ChunkCounters {
  chunks: number;
  bytes: number;
  /** Counted since the agent's start, like the two below. */
  reads: number;
  writes: number;
  checksumFailures: number;
}

export interface OpenChunk {
  readonly facts: ChunkFacts;
  /** The caller closes it. */
  readonly file: FileHandle;
}

export interface ChunkStoreOptions {
  readonly volume: Volume;
  readonly clock: Clock;
  readonly log: AgentLog;
  /** Notified of each chunk that was made durable, and of errors of the volume. */
  readonly health?: Pick<VolumeHealth, 'wrote' | 'suspect'>;
}

export class ChunkStore {
  readonly #counters: ChunkCounters = { chunks: 0, bytes: 0, reads: 0, writes: 0, checksumFailures: 0 };
  readonly #layout: ChunkLayout;
  readonly #tombstones: Tombstones;
  readonly #lock = new KeyedMutex<ChunkId>();
  readonly #writers = new Writers();
  readonly #room: RoomLedger;

  constructor(private readonly options: ChunkStoreOptions) {
    this.#layout = new ChunkLayout(options.volume.dataDir);
    this.#tombstones = new Tombstones(options.clock, join(options.volume.dataDir, '.agent', 'tombstones'));
    this.#room = new RoomLedger(options.volume);
  }

  /** To be called once, before anything else. Logs and skips what a damaged file system makes unreadable. */
  async recover(): Promise<void> {
    const pass = (error: unknown): void => {
      if (!isDamage(error)) throw error;
      this.options.log.error(
        { err: error },
        'the file system of the volume is damaged; continuing with the rest of it',
      );
      this.options.health?.suspect(error);
    };
    await this.#tombstones.load().catch(pass);
    Object.assign(this.#counters, await recoverInventory(this.#layout, this.options.log, pass));
  }

  get counters(): Readonly<ChunkCounters> {
    return this.#counters;
  }

  /** Bytes used by chunks and unfinished writes. */
  get storedBytes(): number {
    return this.#counters.bytes + this.#room.temporaryBytes;
  }

  /** undefined: the chunk does not exist. Code: data_loss. */
  async find(chunk: ChunkId): Promise<ChunkFacts | undefined> {
    return await readSidecar(this.#layout, chunk);
  }

  /**
   * The same chunk again with the same content is accepted, checked and not written twice.
   * Another write of it that is still running ends with `aborted`.
   * Codes: already_exists (other content), aborted (another write of it does not end), failed_precondition (it was
   * deleted a moment ago; not with `revive`, for the controller's own orders, which come in order), resource_exhausted
   * (no room).
   */
  async beginWrite(chunk: ChunkId, expected: ExpectedChunk, options: { revive?: boolean } = {}): Promise<ChunkWrite> {
    const writer = await this.#writers.begin(chunk);
    try {
      if (options.revive === true) this.#tombstones.drop(chunk);
      this.#refuseDeleted(chunk);
      const stored = await this.#whole(chunk);
      if (stored === undefined) return await this.#newWrite(chunk, expected, writer);
      if (stored.md5 !== expected.md5 || stored.size !== expected.size) {
        throw new NexusError('already_exists', `chunk ${chunk} exists with other content`, { chunk });
      }
      return this.#write(chunk, expected, writer, undefined, () => Promise.resolve(stored));
    } catch (error) {
      writer.release();
      throw error;
    }
  }

  /** Damage that shows at once makes a chunk count as absent: writing it again repairs it. */
  async #whole(chunk: ChunkId): Promise<ChunkFacts | undefined> {
    const facts = await this.find(chunk).catch((error: unknown) => {
      if (error instanceof NexusError) return undefined;
      throw error;
    });
    if (facts === undefined) return undefined;
    const found = await lstat(this.#layout.chunk(chunk)).catch(() => undefined);
    return found?.isFile() === true && found.size === facts.size ? facts : undefined;
  }

  async #newWrite(chunk: ChunkId, expected: ExpectedChunk, writer: Writer): Promise<ChunkWrite> {
    const room = await this.#room.promise(expected.size);
    try {
      const path = join(this.#layout.temporaryDir, `${chunk}.${randomUUID()}`);
      const file = await TemporaryFile.create(path, (bytes) => {
        room.take(bytes);
      });
      return this.#write(
        chunk,
        expected,
        writer,
        file,
        (durability) => this.#publish(chunk, expected, file, durability),
        room.release,
      );
    } catch (error) {
      room.release();
      throw error;
    }
  }

  #write(
    chunk: ChunkId,
    expected: ExpectedChunk,
    writer: Writer,
    file: TemporaryFile | undefined,
    publish: ChunkWriteSteps['publish'],
    release?: () => void,
  ): ChunkWrite {
    return new ChunkWrite(chunk, expected, file, {
      signal: writer.signal,
      publish,
      onMismatch: () => {
        this.#counters.checksumFailures += 1;
      },
      onEnd: () => {
        release?.();
        writer.release();
      },
    });
  }

  #refuseDeleted(chunk: ChunkId): void {
    if (this.#tombstones.has(chunk)) {
      throw new NexusError('failed_precondition', `chunk ${chunk} was deleted; ask the controller for a new grant`, {
        chunk,
      });
    }
  }

  /** Sidecar, then chunk: both renames are in one folder, whose journal keeps their order. */
  async #publish(
    chunk: ChunkId,
    expected: ExpectedChunk,
    file: TemporaryFile,
    durability: Durability = ALONE,
  ): Promise<ChunkFacts> {
    const { size } = expected;
    const facts = { ...expected, written_at: new Date(this.options.clock.now()).toISOString() };
    const temporarySidecar = `${file.path}.json`;
    const [made] = await Promise.allSettled([
      durability.content(file, { path: temporarySidecar, text: JSON.stringify(facts) }),
    ]);
    await this.#lock.run(chunk, async () => {
      const before = await this.#countedBytes(chunk);
      try {
        if (made.status === 'rejected') throw made.reason;
        this.#refuseDeleted(chunk);
        await this.#makeFolder(chunk);
        await moveOver(temporarySidecar, this.#layout.sidecar(chunk));
        await moveOver(file.path, this.#layout.chunk(chunk));
        await durability.names(this.#layout.folder(chunk));
      } catch (error) {
        await rm(temporarySidecar, { force: true }).catch(() => undefined);
        // Fails too on a failing volume; the first failure is the one to report.
        await this.#remove(chunk, before).catch(() => undefined);
        throw error;
      }
      this.#count(1 - (before === undefined ? 0 : 1), size - (before ?? 0));
      this.#counters.writes += 1;
      this.options.health?.wrote();
    });
    return facts;
  }

  /** Removes the chunk first: a crash in between leaves a sidecar alone, which does not count. */
  async #remove(chunk: ChunkId, countedBytes: number | undefined): Promise<void> {
    // Recursive for a folder in its place, which nothing else could remove.
    await rm(this.#layout.chunk(chunk), { recursive: true, force: true });
    await rm(this.#layout.sidecar(chunk), { recursive: true, force: true });
    if (countedBytes !== undefined) this.#count(-1, -countedBytes);
  }

  #count(chunks: number, bytes: number): void {
    this.#counters.chunks += chunks;
    this.#counters.bytes += bytes;
  }

  /** Bytes that the counters have for a chunk; undefined: it is not counted, as the chunk or its sidecar is missing. */
  async #countedBytes(chunk: ChunkId): Promise<number | undefined> {
    const [size, described] = await Promise.all([
      sizeOf(this.#layout.chunk(chunk)),
      sizeOf(this.#layout.sidecar(chunk)),
    ]);
    return described === undefined ? undefined : size;
  }

  async #makeFolder(chunk: ChunkId): Promise<void> {
    const made = await mkdir(this.#layout.folder(chunk), { recursive: true, mode: 0o700 });
    if (made !== undefined) await syncFolder(this.#layout.chunksDir);
  }

  /** Codes: not_found, data_loss (it is no regular file, or its size is not the sidecar's). */
  async openRead(chunk: ChunkId): Promise<OpenChunk> {
    const facts = await this.find(chunk);
    if (facts === undefined) throw new NexusError('not_found', `chunk ${chunk} is not on this node`, { chunk });
    const { file, size } = await openRegular(this.#layout.chunk(chunk), constants.O_RDONLY).catch((error: unknown) => {
      if (error instanceof NexusError) {
        this.#counters.checksumFailures += 1;
        throw new NexusError(error.code, `chunk ${chunk}: ${error.message}`, { chunk }, { cause: error });
      }
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw new NexusError('not_found', `chunk ${chunk} is not on this node any more`, { chunk }, { cause: error });
      throw error;
    });
    if (size !== facts.size) {
      await file.close();
      this.#counters.checksumFailures += 1;
      throw new NexusError('data_loss', `chunk ${chunk} has ${size} bytes on the volume, not ${facts.size}`, { chunk });
    }
    this.#counters.reads += 1;
    return { facts, file };
  }

  /** Counts a chunk that was found damaged. */
  countCorrupt(): void {
    this.#counters.checksumFailures += 1;
  }

  /**
   * Idempotent. Running and later writes of the chunk will not commit, not even after a restart, for as long as a token
   * can live.
   */
  async delete(chunk: ChunkId): Promise<void> {
    this.#tombstones.add(chunk);
    await this.#lock.run(chunk, async () => {
      if ((await sizeOf(this.#layout.folder(chunk))) === undefined) return;
      await this.#remove(chunk, await this.#countedBytes(chunk));
      await syncFolder(this.#layout.folder(chunk));
    });
    // Saved after the removal: on a full volume it needs the room of the chunk.
    await this.#tombstones.save(chunk);
  }

  /** Lists at most `limit` chunks above `after`, in order of id. */
  async list(after: string, limit: number): Promise<ListedChunk[]> {
    return await listChunks(this.#layout, after, limit);
  }
}

/** Size of a link itself, not of its target, which is no chunk. undefined: the file does not exist. */
const sizeOf = (path: string): Promise<number | undefined> =>
  lstat(path).then(
    ({ size }) => size,
    () => undefined,
  );
