/** The nodes as the file side sees them: places for chunks. */
import { originMessage } from '../../shared/chunk-origin.js';
import type { KeyObject } from 'node:crypto';
import { publicKeyOf } from '../../shared/chunk-token.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';
import { plainText } from '../../shared/plain-text.js';
import { toNexusError } from '../../shared/errors.js';
import type {
  ChunkContent,
  ChunkList,
  FetchOrder,
  FetchOutcome,
  NodeDirectory,
  ReplicaFinding,
  StorageNode,
} from '../file/nodes.js';
import type { NodeRecord } from '../store/port/store.js';
import { isReadable, isWritable, type VolumeState } from '../../shared/volume-state.js';
import { chunkPage } from './chunk-page.js';
import type { NodeContext } from './context.js';
import { conditionOf, takesChunks } from './watch/volume-condition.js';

/** An agent deletes some hundred files in well under a second. */
const DELETE_TIMEOUT_MS = 30_000;
/** Beyond the time that the rate allows. */
const COPY_TIMEOUT_MS = 60_000;

const timeoutFor = (bytes: number, rate: number): number =>
  COPY_TIMEOUT_MS + (rate === 0 ? 0 : Math.ceil((bytes / rate) * 1000));

export class ClusterStorageNodes implements NodeDirectory {
  constructor(private readonly context: NodeContext) {}

  snapshot(): readonly StorageNode[] {
    return this.context.registry.list().map((record) => this.#view(record));
  }

  ids(): readonly NodeId[] {
    return this.context.registry.list().map(({ id }) => id);
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
    // Ignore ids that were not requested: a faulty agent could list any.
    const asked = new Set<string>(chunkIds);
    return reply.deletedChunkIds.filter((id) => asked.has(id)) as ChunkId[];
  }

  async fetchChunk(node: NodeId, order: FetchOrder): Promise<FetchOutcome> {
    const { chunkId, size, md5, sources, rate, of } = order;
    try {
      const origin = of === undefined ? undefined : originMessage(of);
      const fetch = { chunkId, size: BigInt(size), md5, sources: [...sources], rate: BigInt(rate), origin };
      const command = { fetchChunk: fetch };
      const reply = await this.context.bus.request(node, command, timeoutFor(size, rate));
      return { receipt: reply.receipt, failure: undefined, corruptNodeIds: reply.corruptNodeIds as NodeId[] };
    } catch (thrown) {
      const failure = toNexusError(thrown);
      const corrupt = failure.details['corrupt_node_ids'];
      return { receipt: undefined, failure, corruptNodeIds: Array.isArray(corrupt) ? (corrupt as NodeId[]) : [] };
    }
  }

  async verifyChunks(node: NodeId, chunks: readonly ChunkContent[], rate: number): Promise<readonly ReplicaFinding[]> {
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.size, 0);
    const expected = chunks.map(({ chunkId, size, md5 }) => ({ chunkId, size: BigInt(size), md5 }));
    const command = { verifyChunks: { chunks: expected, rate: BigInt(rate) } };
    const reply = await this.context.bus.request(node, command, timeoutFor(bytes, rate));
    const asked = new Map<string, ChunkContent>(chunks.map((chunk) => [chunk.chunkId, chunk]));
    return reply.findings.flatMap(({ chunkId, state, found }) => {
      const chunk = asked.get(chunkId);
      if (chunk !== undefined && (state === 'missing' || state === 'corrupt' || state === 'unreadable')) {
        return [{ chunkId: chunk.chunkId, state, found: plainText(found) }];
      }
      const { registry } = this.context;
      const fault = `it reported a chunk as "${plainText(state, 32)}", or one that it was not asked about`;
      registry.misconduct.note(node, registry.get(node)?.name ?? node, fault);
      return [];
    });
  }

  async listChunks(node: NodeId, after: string, limit: number): Promise<ChunkList> {
    const chunks = await chunkPage(this.context, node, { after, limit, timeoutMs: DELETE_TIMEOUT_MS });
    return {
      ids: chunks.map(({ chunkId }) => chunkId),
      damaged: chunks.filter(({ damage }) => damage !== '').map(({ chunkId }) => chunkId),
    };
  }

  #view(record: NodeRecord): StorageNode {
    const { registry, hostings } = this.context;
    const agent = registry.agent(record.id);
    const { state, reason } = conditionOf(agent);
    const isHeard = record.status === 'Running' || record.status === 'Suspect';
    const volumeFree = Number(agent?.report?.volumeFreeBytes ?? 0n);
    const hostFree = this.context.hostRoom.of(record.id);
    const isPlace = record.status === 'Running' && !record.cordoned && !record.draining;
    return {
      id: record.id,
      name: record.name,
      address: hostings.of(record).addressOf(record),
      schedulable: isPlace && takesChunks(state),
      ...(isPlace && !takesChunks(state) ? { unfit: `its volume is ${state}: ${reason}` } : {}),
      readable: isHeard && isReadable(state),
      writable: isHeard && isWritable(state),
      standing: standingOf(record, state),
      capacityBytes: Number(agent?.report?.volumeTotalBytes ?? 0n),
      freeBytes: Math.min(volumeFree, hostFree),
      isBoundByHost: hostFree < volumeFree,
      freeInodes: (agent?.report?.volumeInodes ?? 0n) === 0n ? Infinity : Number(agent?.report?.volumeFreeInodes),
      reportedAt: Number(agent?.report?.atMs ?? 0n),
      // Made when it is asked for: the loops look at all nodes twice a second, and at hardly any key.
      get receiptKey() {
        return receiptKeyOf(record);
      },
    };
  }
}

/** Kept, because whoever copies the view of a node asks for it: making the keys of all nodes is most of a survey. */
const KEYS = new WeakMap<NodeRecord, KeyObject>();

function receiptKeyOf(record: NodeRecord): KeyObject | undefined {
  if (record.receiptKey === '') return undefined;
  const known = KEYS.get(record) ?? publicKeyOf(Buffer.from(record.receiptKey, 'base64'));
  KEYS.set(record, known);
  return known;
}

/** A node that was stopped on purpose is here, whatever its volume was like: the next start looks. */
function standingOf({ status, draining }: NodeRecord, volume: VolumeState): StorageNode['standing'] {
  if (status === 'Lost' || status === 'Failed' || status === 'Removing') return 'away';
  if (status === 'Running' && !isReadable(volume)) return 'away';
  return draining ? 'leaving' : 'here';
}
