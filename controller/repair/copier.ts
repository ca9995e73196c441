/**
 * Makes one copy of a chunk, agent to agent. The copy is in the store before the agent is told, so that whatever it
 * writes is known; one that fails is given up, and its bytes are deleted like any that nobody wants.
 */
import { verifyReceipt } from '../../shared/chunk-token.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { originOf, readTarget } from '../file/tokens.js';
import type { StoredChunk } from '../store/port/replicas.js';
import type { FileRecord } from '../store/port/store.js';
import type { RepairDeps } from './deps.js';
import type { PlannedCopy } from './redundancy.js';
import type { Suspicions } from './suspicions.js';

/** How long a node that failed to take a chunk is not asked for it again. */
const AVOID_MS = 30_000;

export class Copier {
  readonly #running = new Map<string, PlannedCopy>();
  readonly #avoid = new Map<string, number>();

  constructor(
    private readonly deps: RepairDeps,
    private readonly suspicions: Suspicions,
  ) {}

  get running(): number {
    return this.#running.size;
  }

  isRunning(chunk: ChunkId, node: NodeId): boolean {
    return this.#running.has(keyOf(chunk, node));
  }

  /** Copies that the node is taking now. */
  runningTo(node: NodeId): number {
    return [...this.#running.values()].filter((copy) => copy.target === node).length;
  }

  /** Whether the node failed to take the chunk a moment ago. */
  avoids(chunk: ChunkId, node: NodeId): boolean {
    const until = this.#avoid.get(keyOf(chunk, node));
    if (until === undefined) return false;
    if (this.deps.clock.monotonic() < until) return true;
    this.#avoid.delete(keyOf(chunk, node));
    return false;
  }

  /** True when the copy is whole. Never rejects. */
  async copy(planned: PlannedCopy): Promise<boolean> {
    const { chunk, target } = planned;
    const key = keyOf(chunk.id, target);
    this.#running.set(key, planned);
    try {
      await this.deps.replicas.begin({ chunkId: chunk.id, nodeId: target }, planned.reason);
      return await this.#fetch(planned);
    } catch (thrown) {
      const error = toNexusError(thrown);
      // Its file was removed, or somebody else was quicker: nothing is wrong.
      if (error.code !== 'not_found' && error.code !== 'already_exists') this.#failed(planned, error);
      return false;
    } finally {
      this.#running.delete(key);
    }
  }

  async #fetch(planned: PlannedCopy): Promise<boolean> {
    const { chunk, target } = planned;
    const copy = { chunkId: chunk.id, nodeId: target };
    const { nodes, replicas } = this.deps;
    const sources = planned.sources
      .map((id) => nodes.find(id))
      .filter((node) => node !== undefined)
      .map((node) => readTarget(this.deps, chunk, node, undefined))
      .map(({ nodeId, address, token }) => ({ nodeId: nodeId as NodeId, address, token }));
    const { id: chunkId, size, md5 } = chunk;
    const file = await this.deps.store.getFile(chunk.fileId);
    const of = file === undefined ? undefined : originOf(file, await this.#placeOf(file, chunk), file.size);
    const outcome = await nodes.fetchChunk(target, { chunkId, size, md5, sources, rate: this.#rate(), of });
    for (const source of outcome.corruptNodeIds) this.suspicions.raise(chunk.id, source);
    try {
      if (outcome.failure !== undefined) throw outcome.failure;
      this.#check(chunk, target, outcome.receipt ?? '');
      return await replicas.settle(copy);
    } catch (error) {
      // Where the store refuses this, too, a later round does it.
      await replicas.abandon(copy).catch(() => undefined);
      throw error;
    }
  }

  /** Only chunks of explicit sizes have an offset of their own to record. */
  async #placeOf(file: FileRecord, { index }: StoredChunk): Promise<{ index: number; offset: number }> {
    if (!file.explicitSizes) return { index, offset: 0 };
    const [chunk] = await this.deps.store.chunks(file.id, { from: index, count: 1 });
    // Removed meanwhile: then the copy is not kept either.
    return { index, offset: chunk?.offset ?? 0 };
  }

  /** The whole rate is shared by as many copies as may run. */
  #rate(): number {
    const { repairConcurrency, repairRateMb } = this.deps.settings;
    return repairRateMb === 0 ? 0 : Math.ceil((repairRateMb * MIB) / repairConcurrency);
  }

  /** An agent's word counts with its signature only. */
  #check(chunk: StoredChunk, target: NodeId, receipt: string): void {
    const key = this.deps.nodes.find(target)?.receiptKey;
    if (key === undefined) throw new NexusError('unavailable', `the key of node ${target} is not known`);
    const claims = verifyReceipt(receipt, key);
    if (claims.chunk !== chunk.id || claims.node !== target || claims.md5 !== chunk.md5 || claims.size !== chunk.size) {
      throw new NexusError('internal', `node ${target} signed for another chunk than ${chunk.id}`);
    }
    this.deps.room.note(
      [{ chunkId: chunk.id, nodeId: target, size: chunk.size, at: claims.at }],
      this.deps.clock.now(),
    );
  }

  #failed({ chunk, target }: PlannedCopy, error: NexusError): void {
    this.#avoid.set(keyOf(chunk.id, target), this.deps.clock.monotonic() + AVOID_MS);
    this.deps.log.warn({ chunk: chunk.id, node: target, code: error.code }, `a copy failed: ${error.message}`);
  }
}

const keyOf = (chunk: ChunkId, node: NodeId): string => `${chunk}@${node}`;
