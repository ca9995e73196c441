/** Nodes as places for chunks, in memory: each signs receipts with a key of its own and can be told to fail. */
import { generateSigningKey, publicKeyOf, signClaims, type SigningKey } from '../../shared/chunk-token.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { GIB } from '../../shared/limits.js';
import type { NodeDirectory, StorageNode } from './nodes.js';

export class FakeNodes implements NodeDirectory {
  readonly #nodes = new Map<NodeId, StorageNode>();
  readonly #keys = new Map<NodeId, SigningKey>();
  /** What was asked to be deleted, in order. */
  readonly deletions: { readonly node: NodeId; readonly chunkIds: readonly ChunkId[] }[] = [];
  /** Nodes whose agents don't answer. */
  readonly silent = new Set<NodeId>();
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
        freeBytes: GIB,
        reportedAt: 0,
        receiptKey: publicKeyOf(key.publicKey),
      });
    }
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
    this.change(id, { schedulable: false, readable: false });
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
}
