/**
 * Ranges of the host's user and group ids for nodes, one each, over all instances of the host. What is stored has the
 * ids that the node sees, so that a node may get another range with each start.
 *
 * A claim is a symbolic link `<number of the range>` to the run folder of its node: made in one step, it fails where
 * another one is. It is stale when that folder is gone. Only the instance that the folder belongs to replaces or removes
 * it, and that one does one thing after the other, so that what it has looked at is still so when it acts: a claim that
 * two of its calls removed could be another instance's the second time. One controller runs for each instance.
 */
import { mkdir, readdir, readlink, rm, rmdir, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Turns } from '../../../shared/async/turns.js';
import { NexusError } from '../../../shared/errors.js';
import type { NodeId } from '../../../shared/ids.js';
import { IDS_OF_RANGE } from './bundle.js';

/**
 * From 0x7000_0000 to 2^31: above what distributions, container managers and systemd (Users, Groups, UIDs and GIDs on
 * systemd Systems) give out, and below ids that some programs take for negative.
 */
const FIRST_ID = 0x7000_0000;
const RANGES = (2 ** 31 - FIRST_ID) / IDS_OF_RANGE;

export class IdRanges {
  readonly #turns = new Turns({ atOnce: 1 });
  /** This instance's claims by their owners, as of the first call; an instance of 1,000 nodes is not looked through each time. */
  #own: Map<string, Set<number>> | undefined;

  /** `folder`, whose parent exists, is the same for all instances; `runDir` is this one's. */
  constructor(
    private readonly folder: string,
    private readonly runDir: string,
  ) {}

  /**
   * Claims the first id of a range for the node, whose run folder exists, and releases others that it has: `wanted` if it is
   * free, the node's own claim included. Code: resource_exhausted.
   */
  async claim(nodeId: NodeId, wanted: number | undefined): Promise<number> {
    const first = wanted === undefined ? startOf(nodeId) : (wanted - FIRST_ID) / IDS_OF_RANGE;
    const owner = this.#owner(nodeId);
    return await this.#alone(async (own) => {
      for (let step = 0; step < RANGES; step += 1) {
        const range = (first + step) % RANGES;
        if (!(await this.#take(range, owner, own))) continue;
        // A controller was killed before it had stored them.
        await this.#remove(owner, own, range);
        own.set(owner, new Set([range]));
        return FIRST_ID + range * IDS_OF_RANGE;
      }
      throw new NexusError(
        'resource_exhausted',
        `all ${RANGES} ranges of user ids on this machine are claimed in ${this.folder}; remove nodes, of other instances too`,
      );
    });
  }

  /** Succeeds if there is no claim. */
  async release(nodeId: NodeId): Promise<void> {
    await this.#alone(async (own) => {
      await this.#remove(this.#owner(nodeId), own);
      await this.#leaveFolder();
    });
  }

  /** Releases the claims of this instance's nodes that have no run folder: a controller ended between the two. */
  async sweep(): Promise<void> {
    await this.#alone(async () => {
      const own = await this.#find();
      this.#own = own;
      for (const owner of [...own.keys()]) if (!(await exists(owner))) await this.#remove(owner, own);
      await this.#leaveFolder();
    });
  }

  async #alone<Result>(work: (own: Map<string, Set<number>>) => Promise<Result>): Promise<Result> {
    return await this.#turns.take('', undefined, async () => await work((this.#own ??= await this.#find())));
  }

  async #find(): Promise<Map<string, Set<number>>> {
    const own = new Map<string, Set<number>>();
    for (const name of await readdir(this.folder).catch(() => [])) {
      const owner = await targetOf(join(this.folder, name));
      if (owner?.startsWith(`${this.runDir}/`) === true)
        own.set(owner, new Set([...(own.get(owner) ?? []), Number(name)]));
    }
    return own;
  }

  async #remove(owner: string, own: Map<string, Set<number>>, except?: number): Promise<void> {
    for (const range of own.get(owner) ?? [])
      if (range !== except && (await targetOf(this.#claim(range))) === owner)
        await rm(this.#claim(range), { force: true });
    own.delete(owner);
  }

  /** The folder stays while anybody has claims. */
  async #leaveFolder(): Promise<void> {
    await rmdir(this.folder).catch(() => undefined);
  }

  async #take(range: number, owner: string, own: Map<string, Set<number>>): Promise<boolean> {
    const claim = this.#claim(range);
    for (;;) {
      try {
        await symlink(owner, claim);
        return true;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'EEXIST' && code !== 'ENOENT') throw error;
        // Nobody has claims, or another instance has just released the last one.
        if (code === 'ENOENT') await mkdir(this.folder, { mode: 0o755 }).catch(unless('EEXIST'));
      }
      const found = await targetOf(claim);
      if (found === owner) return true;
      // Released meanwhile.
      if (found === undefined) continue;
      if (!found.startsWith(`${this.runDir}/`) || (await exists(found))) return false;
      await rm(claim, { force: true });
      own.get(found)?.delete(range);
    }
  }

  #claim(range: number): string {
    return join(this.folder, String(range));
  }

  #owner(nodeId: NodeId): string {
    return join(this.runDir, nodeId);
  }
}

/** Spreads nodes over the ranges, so that most find theirs free at once. Node ids are random hexadecimal digits. */
const startOf = (nodeId: NodeId): number => Number.parseInt(nodeId.slice(0, 6), 16) % RANGES;

/** Undefined: there is none. Empty: it is no link, and nobody of this kind made it. */
const targetOf = (path: string): Promise<string | undefined> =>
  readlink(path).catch((error: unknown) => ((error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : ''));

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const unless =
  (expected: string) =>
  (error: unknown): void => {
    if ((error as NodeJS.ErrnoException).code !== expected) throw error;
  };
