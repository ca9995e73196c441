/**
 * Compares what a node holds with what the catalogue says it holds: when its agent is new, and now and then. A copy
 * that is not there is marked missing and repaired; a chunk that nobody knows is deleted after a grace, in which a
 * catalogue that was restored from a backup can still be corrected.
 */
import { toNexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import type { RepairDeps } from './deps.js';
import type { Suspicions } from './suspicions.js';

/** Chunks compared at once; an agent lists as many in one answer. */
const PAGE = 1000;
/** Orphans remembered for each node; more are found again once these are gone. */
const MAX_ORPHANS = 10_000;
/** A node that could not be compared is tried again after this. */
const RETRY_MS = 10_000;

interface NodeState {
  /** Agent process that was compared; a new one may have found its volume changed. */
  dueAt: number;
  /** When each orphan was first seen, monotonic ms. */
  orphans: Map<ChunkId, number>;
}

export class Inventory {
  readonly #states = new Map<NodeId, NodeState>();

  constructor(
    private readonly deps: RepairDeps,
    private readonly suspicions: Suspicions,
  ) {}

  /** The node's agent is new: what it holds is to be looked at soon. */
  wake(node: NodeId): void {
    const state = this.#states.get(node);
    if (state !== undefined) state.dueAt = 0;
  }

  get orphans(): number {
    return [...this.#states.values()].reduce((sum, state) => sum + state.orphans.size, 0);
  }

  async tick(signal: AbortSignal): Promise<void> {
    const { nodes, clock, log, settings } = this.deps;
    const present = nodes.ids();
    const known = new Set(present);
    for (const id of this.#states.keys()) if (!known.has(id)) this.#states.delete(id);
    for (const id of present) {
      const state = this.#states.get(id) ?? { dueAt: 0, orphans: new Map<ChunkId, number>() };
      this.#states.set(id, state);
      if (clock.monotonic() < state.dueAt || signal.aborted) continue;
      const node = nodes.find(id);
      if (node?.readable !== true) continue;
      state.dueAt = clock.monotonic() + settings.inventoryIntervalMs;
      try {
        await this.compare(node.id, signal);
      } catch (error) {
        state.dueAt = clock.monotonic() + RETRY_MS;
        log.info({ node: node.name, said: toNexusError(error).message }, 'the inventory could not be compared yet');
      }
    }
  }

  /** Codes: those of the node directory. */
  async compare(node: NodeId, signal: AbortSignal): Promise<void> {
    const found = new Set<ChunkId>();
    for (let after = ''; !signal.aborted;) {
      // Read before the agent is asked: a copy that becomes whole meanwhile must not count as missing.
      const expected = await this.deps.replicas.readyOn(node, { after, limit: PAGE });
      const { ids: listed, damaged } = await this.deps.nodes.listChunks(node, after, PAGE);
      const end = endOfPage(expected, listed);
      const held = new Set(listed);
      for (const chunk of expected) {
        if (chunk.id <= end && !held.has(chunk.id)) {
          await this.suspicions.confirm(chunk, node, { state: 'missing', found: 'its volume does not have it' });
        }
      }
      for (const id of damaged) this.suspicions.raise(id, node);
      await this.#noteOrphans(
        node,
        listed.filter((id) => id <= end),
        found,
      );
      if (expected.length < PAGE && listed.length < PAGE) break;
      after = end;
    }
    await this.#removeOrphans(node, found);
    await this.suspicions.recheck(node, this.deps.settings.scrubRateMb * MIB, signal);
  }

  /** Asked after the listing: every copy that an agent may hold was on record before it was written. */
  async #noteOrphans(node: NodeId, listed: readonly ChunkId[], found: Set<ChunkId>): Promise<void> {
    const known = await this.deps.replicas.knownOn(node, listed);
    for (const id of listed) if (!known.has(id) && found.size < MAX_ORPHANS) found.add(id);
  }

  async #removeOrphans(node: NodeId, found: ReadonlySet<ChunkId>): Promise<void> {
    const { clock, settings, nodes, events } = this.deps;
    const before = this.#states.get(node)?.orphans ?? new Map<ChunkId, number>();
    const now = clock.monotonic();
    const seen = new Map([...found].map((id): [ChunkId, number] => [id, before.get(id) ?? now]));
    const due = [...seen].filter(([, since]) => now - since >= settings.orphanGraceMs).map(([id]) => id);
    const gone = new Set<ChunkId>();
    for (let at = 0; at < due.length; at += PAGE) {
      for (const id of await nodes.deleteChunks(node, due.slice(at, at + PAGE))) gone.add(id);
    }
    for (const id of gone) seen.delete(id);
    this.#states.set(node, { dueAt: this.#states.get(node)?.dueAt ?? 0, orphans: seen });
    if (gone.size === 0) return;
    const name = nodes.find(node)?.name ?? node;
    await events.append('chunk.orphans_removed', name, `${gone.size} chunk(s) on node ${name} belonged to no file`);
  }
}

/** Where both lists are known completely: the end of the shorter one that was cut off. */
function endOfPage(expected: readonly { readonly id: ChunkId }[], listed: readonly ChunkId[]): string {
  const ends = [
    ...(expected.length === PAGE ? [expected.at(-1)?.id ?? ''] : []),
    ...(listed.length === PAGE ? [listed.at(-1) ?? ''] : []),
  ];
  return ends.length === 0 ? 'g' : (ends.sort()[0] ?? 'g');
}
