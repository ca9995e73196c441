/** The nodes as the file side sees them: places for chunks. */
import { publicKeyOf } from '../../shared/chunk-token.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import type { NodeDirectory, StorageNode } from '../file/nodes.js';
import type { NodeRecord } from '../store/port.js';
import type { NodeContext } from './context.js';

/** An agent deletes some hundred files in well under a second. */
const DELETE_TIMEOUT_MS = 30_000;

export class ClusterStorageNodes implements NodeDirectory {
  constructor(private readonly context: NodeContext) {}

  snapshot(): readonly StorageNode[] {
    return this.context.registry.list().map((record) => this.#view(record));
  }

  find(id: NodeId): StorageNode | undefined {
    const record = this.context.registry.get(id);
    return record === undefined ? undefined : this.#view(record);
  }

  async deleteChunks(node: NodeId, chunkIds: readonly ChunkId[]): Promise<readonly ChunkId[]> {
    const reply = await this.context.bus.request(
      node,
      { deleteChunks: { chunkIds: [...chunkIds] } },
      DELETE_TIMEOUT_MS,
    );
    return reply.deletedChunkIds as ChunkId[];
  }

  #view(record: NodeRecord): StorageNode {
    const { registry, settings } = this.context;
    const agent = registry.agent(record.id);
    return {
      id: record.id,
      name: record.name,
      address: `${record.ip}:${settings.dataPort}`,
      schedulable: record.status === 'Running' && !record.cordoned,
      readable: record.status === 'Running' || record.status === 'Suspect',
      freeBytes: Number(agent?.report?.volumeFreeBytes ?? 0n),
      reportedAt: Number(agent?.report?.atMs ?? 0n),
      receiptKey: record.receiptKey === '' ? undefined : publicKeyOf(Buffer.from(record.receiptKey, 'base64')),
    };
  }
}
