/**
 * Chunks deleted so recently that a write token for them may still be valid: writing one again would bring back what
 * the catalogue has forgotten. They lie on the volume, too, so that an agent that starts again still knows them. Their
 * file has its room beforehand and is changed in place: a full volume must not keep anybody from deleting, or starting.
 */
import { mkdir, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../shared/async/clock.js';
import { isChunkId, type ChunkId } from '../../shared/ids.js';
import { NexusError } from '../../shared/errors.js';
import { CHUNK_TOKEN_TTL_MS, KIB } from '../../shared/limits.js';
import { openOwn, readRegular } from '../volume/regular-file.js';
import { syncFolder } from './layout.js';

/** About 2 MB of memory, 1 MB on the volume; more deletions in one token's lifetime drop the oldest. */
const MAX_TOMBSTONES = 20_000;
const EXPIRY_DIGITS = 14;
/** A line `<expiry, ms since the epoch> <chunk>`, always as long. */
const SLOT_BYTES = EXPIRY_DIGITS + 1 + 32 + 1;
const BLANK = `${' '.repeat(SLOT_BYTES - 1)}\n`;
/** Slots that are made at once, where there is room. */
const SLOTS_AT_ONCE = Math.floor((64 * KIB) / SLOT_BYTES);

interface Tombstone {
  /** Monotonic ms. */
  readonly expiry: number;
  /** Where it lies in the file. */
  slot: number | undefined;
}

export class Tombstones {
  /** Insertion order is order of expiry, since all live equally long. */
  readonly #known = new Map<ChunkId, Tombstone>();
  /** The file: whose line each slot holds; undefined: nobody's. */
  #slots: (ChunkId | undefined)[] = [];
  #unsaved = new Set<ChunkId>();
  #saving: Promise<void> = Promise.resolve();

  constructor(
    private readonly clock: Clock,
    private readonly path: string,
    private readonly bound = MAX_TOMBSTONES,
  ) {}

  /** To be called once, before anything else. Whatever is no line of ours in the file is passed over, or all of it. */
  async load(): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    const text = await readRegular(this.path, 'latin1').catch((error: unknown) => {
      if (error instanceof NexusError || (error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
    const lines = text.split('\n');
    const isInSlots =
      text.length % SLOT_BYTES === 0 &&
      lines.every((line, at) => line.length === (at < lines.length - 1 ? SLOT_BYTES - 1 : 0));
    const found: { chunk: ChunkId; leftMs: number; at: number }[] = [];
    for (const [at, line] of lines.entries()) {
      const [expiry = '', chunk = ''] = line.trim().split(' ');
      // A clock that was set back must not make one live for ever.
      const leftMs = Math.min(Number(expiry) - this.clock.now(), CHUNK_TOKEN_TTL_MS);
      if (isChunkId(chunk) && leftMs > 0) found.push({ chunk, leftMs, at });
    }
    this.#slots = Array.from({ length: Math.floor(text.length / SLOT_BYTES) }, () => undefined);
    for (const { chunk, leftMs, at } of found.sort((one, other) => one.leftMs - other.leftMs)) {
      this.#remember(chunk, leftMs);
      if (isInSlots) this.#occupy(at, chunk);
      else this.#unsaved.add(chunk);
    }
    // No room now is no reason not to start: the first deletion makes some.
    await this.#write().catch(() => undefined);
  }

  /** In force at once, but not yet beyond the end of this process: see `save`. */
  add(chunk: ChunkId): void {
    this.#remember(chunk, CHUNK_TOKEN_TTL_MS);
  }

  /** Durable when it resolves; of several at once one write serves all. */
  async save(chunk: ChunkId): Promise<void> {
    this.#unsaved.add(chunk);
    const turn = this.#saving.then(() => (this.#unsaved.has(chunk) ? this.#write() : undefined));
    this.#saving = turn.catch(() => undefined);
    await turn;
  }

  drop(chunk: ChunkId): void {
    this.#forget(chunk);
  }

  has(chunk: ChunkId): boolean {
    const tombstone = this.#known.get(chunk);
    return tombstone !== undefined && this.clock.monotonic() < tombstone.expiry;
  }

  #remember(chunk: ChunkId, leftMs: number): void {
    const slot = this.#known.get(chunk)?.slot;
    this.#known.delete(chunk);
    this.#known.set(chunk, { expiry: this.clock.monotonic() + leftMs, slot });
    const now = this.clock.monotonic();
    for (const [oldest, { expiry }] of this.#known) {
      if (now < expiry && this.#known.size <= this.bound) return;
      this.#forget(oldest);
    }
  }

  #forget(chunk: ChunkId): void {
    const slot = this.#known.get(chunk)?.slot;
    if (slot !== undefined) this.#slots[slot] = undefined;
    this.#known.delete(chunk);
  }

  #occupy(slot: number, chunk: ChunkId): void {
    const before = this.#slots[slot];
    const displaced = before === undefined ? undefined : this.#known.get(before);
    if (displaced !== undefined) displaced.slot = undefined;
    this.#slots[slot] = chunk;
    const tombstone = this.#known.get(chunk);
    if (tombstone !== undefined) tombstone.slot = slot;
  }

  async #write(): Promise<void> {
    const { file, size } = await openOwn(this.path);
    // Shorter than it was: the node's root removed or replaced it, and with it the lines.
    if (size < this.#slots.length * SLOT_BYTES) this.#startAnew();
    const isNew = this.#slots.length === 0;
    try {
      if (isNew) await this.#grow(file);
      const batch = [...this.#unsaved];
      for (const chunk of batch) {
        const tombstone = this.#known.get(chunk);
        if (tombstone !== undefined) await this.#writeOne(file, chunk, tombstone);
      }
      await file.datasync();
      for (const chunk of batch) this.#unsaved.delete(chunk);
    } finally {
      await file.close().catch(() => undefined);
    }
    if (isNew) await syncFolder(dirname(this.path));
  }

  #startAnew(): void {
    this.#slots = [];
    for (const [chunk, tombstone] of this.#known) {
      tombstone.slot = undefined;
      this.#unsaved.add(chunk);
    }
  }

  async #writeOne(file: FileHandle, chunk: ChunkId, tombstone: Tombstone): Promise<void> {
    const slot = tombstone.slot ?? (await this.#freeSlot(file));
    const expiresAt = Math.round(this.clock.now() + tombstone.expiry - this.clock.monotonic());
    const line = `${String(expiresAt).padStart(EXPIRY_DIGITS, '0')} ${chunk}\n`;
    await file.write(line, slot * SLOT_BYTES, 'latin1');
    this.#occupy(slot, chunk);
  }

  /** One that nobody has, a new one, or that of the tombstone that would go first. */
  async #freeSlot(file: FileHandle): Promise<number> {
    const free = this.#slots.indexOf(undefined);
    if (free >= 0) return free;
    const before = this.#slots.length;
    if (before < this.bound) {
      try {
        await this.#grow(file);
        return before;
      } catch (error) {
        // Without any slot the deletion can't be made to last.
        if (before === 0) throw error;
      }
    }
    const oldest = [...this.#known.values()].find(({ slot }) => slot !== undefined);
    return oldest?.slot ?? 0;
  }

  /** Many slots, or where the volume has no room for them the one that is needed. */
  async #grow(file: FileHandle): Promise<void> {
    const from = this.#slots.length;
    const most = Math.min(SLOTS_AT_ONCE, this.bound - from);
    for (const count of most > 1 ? [most, 1] : [1]) {
      const text = BLANK.repeat(count);
      const written = await file.write(text, from * SLOT_BYTES, 'latin1').then(
        ({ bytesWritten }) => bytesWritten,
        (error: unknown) => {
          if (count === 1) throw error;
          return 0;
        },
      );
      const whole = Math.floor(written / SLOT_BYTES);
      for (let slot = 0; slot < whole; slot += 1) this.#slots.push(undefined);
      if (whole > 0) return;
    }
  }
}
