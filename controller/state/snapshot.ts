/**
 * Maintains nexus.json in the state folder, and the cards beside the volumes. nexus.json is the document of `nexus
 * state export`, rewritten shortly after each change; a new file replaces the old one atomically.
 *
 * If the database is empty and the file is not, the database was lost: the file stays until something is stored again,
 * and is then kept under another name.
 */
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { notice, type Notice } from '../../shared/advice/advice.js';
import type { Clock } from '../../shared/async/clock.js';
import type { Logger } from '../../shared/log.js';
import { toNexusError } from '../../shared/errors.js';
import { KIB } from '../../shared/limits.js';
import type { NodeRecord } from '../store/port/store.js';
import type { VolumeProvisioner } from '../hosting/volumes.js';
import { documentPieces, nodeCard, type DocumentSource } from './document.js';

/** A large state takes long to assemble; this is the maximum share of the controller's time for it. */
const SHARE_OF_TIME = 1 / 20;

const HEAD_BYTES = 64 * KIB;

export interface SnapshotDeps {
  readonly source: DocumentSource;
  readonly volumes: VolumeProvisioner;
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Snapshot {
  #written = -1;
  #notBefore = 0;
  readonly #cards = new Map<string, string>();
  /** Nodes whose cards are all up to date. */
  #described: readonly NodeRecord[] | undefined;
  /** undefined: not checked yet. */
  #isOfLostDatabase: boolean | undefined;

  constructor(private readonly deps: SnapshotDeps) {}

  /** Writes the file if something has changed and the last write is long enough ago. */
  async tick(): Promise<void> {
    const { source, clock } = this.deps;
    await this.#describe(source.nodes());
    const revision = source.archive.revision();
    if (revision === this.#written || clock.monotonic() < this.#notBefore) return;
    if (await this.#mustStay()) return;
    const busyMs = await this.#write();
    this.#written = revision;
    this.#notBefore = clock.monotonic() + busyMs / SHARE_OF_TIME;
  }

  /** Advice if the database was lost; otherwise empty. */
  get warnings(): readonly Notice[] {
    if (this.#isOfLostDatabase !== true) return [];
    return [lostDatabase(this.deps.path)];
  }

  async #mustStay(): Promise<boolean> {
    const { source, path, clock, log } = this.deps;
    if (this.#isOfLostDatabase === false) return false;
    const isEmpty = await source.archive.isEmpty();
    this.#isOfLostDatabase ??= isEmpty && (await tellsOfSomething(path));
    if (isEmpty && this.#isOfLostDatabase) return true;
    if (this.#isOfLostDatabase) {
      const kept = `${path}.${new Date(clock.now()).toISOString().replaceAll(':', '')}`;
      await rename(path, kept);
      log.warn({ kept }, 'the snapshot of a lost database is kept under another name');
    }
    this.#isOfLostDatabase = false;
    return false;
  }

  /** Returns how long it took to assemble the document, without the time for the disk. */
  async #write(): Promise<number> {
    const { path, source, clock } = this.deps;
    let busyMs = 0;
    const temporary = `${path}.new`;
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, 'w', 0o600);
    try {
      let since = clock.monotonic();
      for await (const piece of documentPieces(source)) {
        busyMs += clock.monotonic() - since;
        await file.write(piece);
        since = clock.monotonic();
      }
      await file.sync();
    } catch (error) {
      await file.close().catch(() => undefined);
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    await file.close();
    await rename(temporary, path);
    const folder = await open(dirname(path), 'r');
    await folder.sync();
    await folder.close();
    return busyMs;
  }

  /** Keeps the cards up to date: a rebuild can't use a volume whose node is unknown. */
  async #describe(nodes: readonly NodeRecord[]): Promise<void> {
    const { volumes, log } = this.deps;
    if (nodes === this.#described) return;
    const known = new Set<string>(nodes.map((node) => node.id));
    for (const id of this.#cards.keys()) if (!known.has(id)) this.#cards.delete(id);
    let areAll = true;
    for (const node of nodes) {
      const card = JSON.stringify(nodeCard(node));
      const isBeing = node.status === 'Creating' || node.status === 'Removing';
      if (isBeing) areAll = false;
      if (isBeing || this.#cards.get(node.id) === card) continue;
      try {
        await volumes.describe(node.id, card);
        this.#cards.set(node.id, card);
      } catch (error) {
        areAll = false;
        log.warn({ node: node.name, said: toNexusError(error).message }, 'its volume could not be described');
      }
    }
    this.#described = areAll ? nodes : undefined;
  }
}

/** Whether the file has a record; the first one is within the first kilobytes. */
async function tellsOfSomething(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return false;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return /"(id|owner)":/.test(buffer.toString('utf8', 0, bytesRead));
  } finally {
    await file.close().catch(() => undefined);
  }
}

export const snapshotPath = (stateDir: string): string => join(stateDir, 'nexus.json');

/** Advice for an empty database beside a snapshot with records. */
export const lostDatabase = (path: string): Notice =>
  notice(`the database is empty, but ${path} contains nodes and files`, { key: 'import-state', path });
