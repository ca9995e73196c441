/** Nodes as places for chunks, in memory: each signs receipts with a key of its own and can be told to fail. */
import { generateSigningKey, publicKeyOf, signClaims, type SigningKey } from '../../shared/chunk-token.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { GIB } from '../../shared/limits.js';
import type {
  ChunkContent,
  ChunkList,
  FetchOrder,
  FetchOutcome,
  NodeDirectory,
  ReplicaFinding,
  StorageNode,
} from '../../controller/file/nodes.js';

export class FakeNodes implements NodeDirectory {
  readonly #nodes = new Map<NodeId, StorageNode>();
  readonly #keys = new Map<NodeId, SigningKey>();
  /** What was asked to be deleted, in order. */
  readonly deletions: { readonly node: NodeId; readonly chunkIds: readonly ChunkId[] }[] = [];
  /** `<chunk>@<node>` whose sidecars can't be read. */
  readonly sidecars = new Set<string>();
  /** Nodes whose agents don't answer. */
  readonly silent = new Set<NodeId>();
  /** Copies made, in order. */
  readonly fetches: { readonly node: NodeId; readonly order: FetchOrder }[] = [];
  /** What is wrong on the volumes, by `<chunk>@<node>`. */
  readonly damage = new Map<string, 'missing' | 'corrupt'>();
  /** What the nodes' volumes hold; those that are not named hold nothing. */
  readonly held = new Map<NodeId, readonly ChunkId[]>();
  /** How many chunks of one command are confirmed. */
  confirmsAtMost = Infinity;

  /** Nodes `node-0`, `node-1`, ...: running, with 1 GiB free each. */
  constructor(count: number) {
    for (let slot = 0; slot < count; slot += 1) {
      const id = slot.toString(16).padStart(12, '0') as NodeId;
      const key = generateSigningKey();
      this.#keys.set(id, key);
      this.#nodes.set(id, {
        id,
        name: `node-${slot}`,
        address: `10.0.0.${slot + 2}:7400`,
        schedulable: true,
        readable: true,
        writable: true,
        standing: 'here',
        capacityBytes: 2 * GIB,
        freeBytes: GIB,
        freeInodes: Infinity,
        reportedAt: 0,
        receiptKey: publicKeyOf(key.publicKey),
      });
    }
  }

  ids(): readonly NodeId[] {
    return this.snapshot().map(({ id }) => id);
  }

  snapshot(): readonly StorageNode[] {
    return [...this.#nodes.values()];
  }

  find(id: NodeId): StorageNode | undefined {
    return this.#nodes.get(id);
  }

  change(id: NodeId, change: Partial<StorageNode>): void {
    const node = this.#nodes.get(id);
    if (node !== undefined) this.#nodes.set(id, { ...node, ...change });
  }

  /** As one does that is stopped or dead. */
  takeDown(id: NodeId): void {
    this.change(id, { schedulable: false, readable: false, writable: false, standing: 'away' });
  }

  forget(id: NodeId): void {
    this.#nodes.delete(id);
  }

  /** What the node's agent signs when it has stored the chunk; `at` is by its clock. */
  receipt(node: NodeId, chunk: string, size: number, md5 = 'a'.repeat(32), at = 0): string {
    const key = this.#keys.get(node);
    if (key === undefined) throw new Error(`there is no fake node ${node}`);
    return signClaims({ chunk, node, size, md5, at }, key);
  }

  async deleteChunks(node: NodeId, chunkIds: readonly ChunkId[]): Promise<readonly ChunkId[]> {
    this.deletions.push({ node, chunkIds });
    if (this.silent.has(node)) throw new NexusError('unavailable', `node ${node} does not answer`);
    return chunkIds.slice(0, this.confirmsAtMost);
  }

  async fetchChunk(node: NodeId, order: FetchOrder): Promise<FetchOutcome> {
    this.fetches.push({ node, order });
    await Promise.resolve();
    const isGood = (source: NodeId): boolean =>
      !this.silent.has(source) && !this.damage.has(`${order.chunkId}@${source}`);
    const corruptNodeIds = order.sources
      .map((source) => source.nodeId)
      .filter((id) => this.damage.get(`${order.chunkId}@${id}`) === 'corrupt');
    if (this.silent.has(node) || !order.sources.some((source) => isGood(source.nodeId))) {
      const failure = new NexusError('unavailable', `node ${node} could not copy`);
      return { receipt: undefined, failure, corruptNodeIds };
    }
    this.damage.delete(`${order.chunkId}@${node}`);
    return { receipt: this.receipt(node, order.chunkId, order.size, order.md5), failure: undefined, corruptNodeIds };
  }

  async verifyChunks(node: NodeId, chunks: readonly ChunkContent[]): Promise<readonly ReplicaFinding[]> {
    if (this.silent.has(node)) throw new NexusError('unavailable', `node ${node} does not answer`);
    return await Promise.resolve(
      chunks.flatMap(({ chunkId }) => {
        const state = this.damage.get(`${chunkId}@${node}`);
        return state === undefined ? [] : [{ chunkId, state, found: 'other bytes' }];
      }),
    );
  }

  async listChunks(node: NodeId, after: string, limit: number): Promise<ChunkList> {
    if (this.silent.has(node)) throw new NexusError('unavailable', `node ${node} does not answer`);
    const held = [...(this.held.get(node) ?? [])].sort();
    const ids = held.filter((id) => id > after).slice(0, limit);
    return await Promise.resolve({ ids, damaged: ids.filter((id) => this.sidecars.has(`${id}@${node}`)) });
  }
}
