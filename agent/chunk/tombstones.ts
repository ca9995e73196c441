/**
 * Chunks deleted so recently that a write token for them may still be valid: writing one again would bring back what
 * the catalogue has forgotten. They lie on the volume, too, so that an agent that starts again still knows them.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../shared/clock.js';
import { isChunkId, type ChunkId } from '../../shared/ids.js';
import { CHUNK_TOKEN_TTL_MS } from '../../shared/limits.js';
import { syncFolder, writeDurably } from './layout.js';

/** About 2 MB; more deletions in one token's lifetime drop the oldest. */
const MAX_TOMBSTONES = 20_000;

export class Tombstones {
  /** Expiry by chunk, monotonic. Insertion order is order of expiry, since all live equally long. */
  readonly #expiry = new Map<ChunkId, number>();
  #unsaved: string[] = [];
  #saving: Promise<void> = Promise.resolve();
  #linesInFile = 0;

  /** The file holds lines `<expiry, ms since the epoch> <chunk>`, appended; whatever else stands in it is skipped. */
  constructor(
    private readonly clock: Clock,
    private readonly path: string,
    private readonly bound = MAX_TOMBSTONES,
  ) {}

  /** To be called once, before anything else. */
  async load(): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    const text = await readFile(this.path, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
    for (const line of text.split('\n')) {
      const [expiry = '', chunk = ''] = line.split(' ');
      // A clock that was set back must not make one live for ever.
      const leftMs = Math.min(Number(expiry) - this.clock.now(), CHUNK_TOKEN_TTL_MS);
      if (isChunkId(chunk) && leftMs > 0) this.#remember(chunk, leftMs);
    }
    if (text !== '') await this.#rewrite();
  }

  /** In force at once, but not yet beyond the end of this process: see `save`. */
  add(chunk: ChunkId): void {
    this.#remember(chunk, CHUNK_TOKEN_TTL_MS);
  }

  /** Durable when it resolves; of several at once one write serves all. */
  async save(chunk: ChunkId): Promise<void> {
    this.#unsaved.push(this.#line(chunk, CHUNK_TOKEN_TTL_MS));
    const turn = this.#saving.then(() => this.#append());
    this.#saving = turn.catch(() => undefined);
    await turn;
  }

  drop(chunk: ChunkId): void {
    this.#expiry.delete(chunk);
  }

  has(chunk: ChunkId): boolean {
    const expiry = this.#expiry.get(chunk);
    return expiry !== undefined && this.clock.monotonic() < expiry;
  }

  #remember(chunk: ChunkId, leftMs: number): void {
    this.#expiry.delete(chunk);
    this.#expiry.set(chunk, this.clock.monotonic() + leftMs);
    this.#prune();
  }

  #prune(): void {
    const now = this.clock.monotonic();
    for (const [chunk, expiry] of this.#expiry) {
      if (now < expiry && this.#expiry.size <= this.bound) return;
      this.#expiry.delete(chunk);
    }
  }

  async #append(): Promise<void> {
    const lines = this.#unsaved.splice(0);
    if (lines.length === 0) return;
    try {
      if (this.#linesInFile + lines.length > 2 * this.bound) {
        await this.#rewrite();
        return;
      }
      const file = await open(this.path, 'a', 0o600);
      try {
        // A line that a full volume cut off must not take the next one with it.
        await file.writeFile(`\n${lines.join('\n')}\n`);
        await file.datasync();
      } finally {
        await file.close();
      }
      if (this.#linesInFile === 0) await syncFolder(dirname(this.path));
      this.#linesInFile += lines.length;
    } catch (error) {
      this.#unsaved.unshift(...lines);
      throw error;
    }
  }

  /** What lives, and nothing else. */
  async #rewrite(): Promise<void> {
    this.#prune();
    const now = this.clock.monotonic();
    const lines = [...this.#expiry].map(([chunk, expiry]) => this.#line(chunk, expiry - now));
    const temporary = `${this.path}.${randomUUID()}`;
    await writeDurably(temporary, lines.map((line) => `${line}\n`).join(''));
    await rename(temporary, this.path);
    await syncFolder(dirname(this.path));
    this.#linesInFile = lines.length;
  }

  #line(chunk: ChunkId, leftMs: number): string {
    return `${Math.round(this.clock.now() + leftMs)} ${chunk}`;
  }
}
