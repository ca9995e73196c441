/**
 * Reads all copies back, node by node, at a bounded rate, and has damaged ones repaired. A node is due again after the
 * interval; the time of its last scrub survives restarts. On demand it begins at once.
 */
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES, MIB } from '../../shared/limits.js';
import type { ReplicaFinding, StorageNode } from '../file/nodes.js';
import type { StoredChunk } from '../store/port/replicas.js';
import type { RepairDeps } from './deps.js';
import type { Suspicions } from './suspicions.js';

/** Intended time of one command, so that a stop need not wait for long. */
const BATCH_MS = 2000;
const HOUR_MS = 3_600_000;

export interface ScrubProgress {
  readonly node: string;
  readonly checkedChunks: number;
  readonly checkedBytes: number;
  /** Copies found damaged or missing. */
  readonly bad: number;
  readonly isFinished: boolean;
}

export interface ScrubOrder {
  /** undefined: all nodes that can be read. */
  readonly node: NodeId | undefined;
  /** Bytes a second on each node; 0: as fast as it goes. */
  readonly rate: number;
  readonly signal: AbortSignal;
  readonly tell: (progress: ScrubProgress) => Promise<void>;
}

export class Scrub {
  readonly #scrubbing = new Set<NodeId>();
  /** Counted since the controller's start. */
  checkedBytes = 0;
  badCopies = 0;

  constructor(
    private readonly deps: RepairDeps,
    private readonly suspicions: Suspicions,
  ) {}

  get running(): number {
    return this.#scrubbing.size;
  }

  /** Codes: failed_precondition (no readable node, or a node is being scrubbed already), and those of the nodes. */
  async run(order: ScrubOrder): Promise<void> {
    const nodes = this.deps.nodes
      .snapshot()
      .filter((node) => node.readable && (order.node === undefined || node.id === order.node));
    if (nodes.length === 0) {
      const advice = { key: 'list-nodes' } as const;
      throw new NexusError('failed_precondition', 'there is no running node to scrub', {}, { advice });
    }
    const busy = nodes.find((node) => this.#scrubbing.has(node.id));
    if (busy !== undefined) {
      throw new NexusError('failed_precondition', `node ${busy.name} is being scrubbed already; wait for its end`);
    }
    await Promise.all(nodes.map((node) => this.#scrub(node, order)));
  }

  /** Scrubs the nodes that are due, one after the other; none if the interval is 0. */
  async tick(signal: AbortSignal): Promise<void> {
    const { settings, nodes, marks, clock, log } = this.deps;
    if (settings.scrubIntervalHours === 0) return;
    for (const node of nodes.snapshot()) {
      if (!node.readable || this.#scrubbing.has(node.id) || signal.aborted) continue;
      const last = await marks.get(markOf(node.id));
      // A new node has no old copies: its first scrub is due after one interval.
      if (last === undefined) await marks.set(markOf(node.id), clock.now());
      if (last === undefined || clock.now() - last < settings.scrubIntervalHours * HOUR_MS) continue;
      const rate = settings.scrubRateMb * MIB;
      await this.#scrub(node, { node: node.id, rate, signal, tell: () => Promise.resolve() }).catch(
        (error: unknown) => {
          log.info(
            { node: node.name, said: toNexusError(error).message },
            'a scrub was interrupted; it will start again',
          );
        },
      );
    }
  }

  async #scrub(node: StorageNode, { rate, signal, tell }: ScrubOrder): Promise<void> {
    const { replicas, marks, clock, events } = this.deps;
    this.#scrubbing.add(node.id);
    const progress = { node: node.name, checkedChunks: 0, checkedBytes: 0, bad: 0 };
    const limit = Math.min(64, Math.max(1, Math.floor(((rate || 200 * MIB) * BATCH_MS) / 1000 / CHUNK_SIZE_BYTES)));
    try {
      const again = await this.suspicions.recheck(node.id, rate, signal);
      progress.checkedChunks += again.chunks;
      progress.checkedBytes += again.bytes;
      progress.bad += again.bad;
      for (let after = ''; !signal.aborted;) {
        const chunks = await replicas.readyOn(node.id, { after, limit });
        progress.bad += await this.#check(node.id, chunks, rate);
        const bytes = chunks.reduce((sum, chunk) => sum + chunk.size, 0);
        progress.checkedChunks += chunks.length;
        progress.checkedBytes += bytes;
        this.checkedBytes += bytes;
        if (chunks.length < limit) break;
        after = chunks.at(-1)?.id ?? '';
        await tell({ ...progress, isFinished: false });
      }
      if (signal.aborted) throw new NexusError('cancelled', 'the scrub was cancelled');
    } finally {
      this.#scrubbing.delete(node.id);
    }
    await marks.set(markOf(node.id), clock.now());
    const said = `${progress.checkedChunks} chunk(s) on node ${node.name} were read back, ${progress.bad} of them bad`;
    await events.append('scrub.finished', node.name, said);
    await tell({ ...progress, isFinished: true });
  }

  async #check(
    node: NodeId,
    chunks: readonly Omit<StoredChunk, 'replicas' | 'wanted'>[],
    rate: number,
  ): Promise<number> {
    if (chunks.length === 0) return 0;
    const expected = chunks.map(({ id, size, md5 }) => ({ chunkId: id, size, md5 }));
    const findings = await this.deps.nodes.verifyChunks(node, expected, rate);
    let bad = 0;
    for (const finding of findings) if (await this.#confirm(node, chunks, finding)) bad += 1;
    this.badCopies += bad;
    return bad;
  }

  async #confirm(
    node: NodeId,
    chunks: readonly Omit<StoredChunk, 'replicas' | 'wanted'>[],
    finding: ReplicaFinding,
  ): Promise<boolean> {
    const chunk = chunks.find(({ id }) => id === finding.chunkId);
    return chunk !== undefined && (await this.suspicions.confirm(chunk, node, finding));
  }
}

const markOf = (node: NodeId): string => `scrubbed/${node}`;
