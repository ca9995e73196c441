/** The file use cases on fakes: a store in memory, nodes that sign, a clock that stands still until it is moved. */
import { inCommandWords } from '../../shared/advice/command-words.js';
import { generateSigningKey } from '../../shared/chunk-token.js';
import { systemClock } from '../../shared/async/clock.js';
import type { NodeId, UploadId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import { createLogger } from '../../shared/log.js';
import { EventLog } from '../../controller/events/log.js';
import type { FileDeps } from '../../controller/file/deps.js';
import { FakeNodes } from '../fakes/storage-nodes.js';
import { Room } from '../../controller/file/room.js';
import { FileMaintenance } from '../../controller/file/maintenance.js';
import type { ClaimedReceipt } from '../../controller/file/receipts.js';
import type { ChunkGrant } from '../../controller/file/upload.js';
import { FileUseCases } from '../../controller/file/use-cases.js';
import type { RepairDeps } from '../../controller/repair/deps.js';
import { Upkeep } from '../../controller/repair/upkeep.js';
import { Pins } from '../../controller/vfs/pins.js';
import { FakeStore } from '../fakes/store.js';
import type { FileRecord, Store } from '../../controller/store/port/store.js';

export const UPLOAD_TTL_MS = 60_000;

export class FileBench {
  nowMs = 1_000_000;
  kicks = 0;
  readonly store = new FakeStore();
  readonly signer = generateSigningKey();
  readonly nodes: FakeNodes;
  readonly deps: FileDeps & RepairDeps;
  readonly upkeep: Upkeep;
  readonly files: FileUseCases;
  readonly maintenance: FileMaintenance;

  /** `on` takes the place of the store in memory. */
  constructor(nodeCount = 3, on?: Store) {
    const kept: Store = on ?? this.store;
    const log = createLogger('test', 'silent');
    const clock = { ...systemClock, now: () => this.nowMs, monotonic: () => this.nowMs };
    this.nodes = new FakeNodes(nodeCount);
    this.deps = {
      store: kept.files,
      fs: kept.fs,
      pins: new Pins(clock),
      replicas: kept.replicas,
      marks: kept.marks,
      nodes: this.nodes,
      room: new Room(),
      signer: this.signer,
      clock,
      log,
      settings: {
        defaultReplicas: 1,
        uploadTtlMs: UPLOAD_TTL_MS,
        quotaMb: 500,
        repairConcurrency: 4,
        repairRateMb: 0,
        scrubRateMb: 20,
        scrubIntervalHours: 1,
        inventoryIntervalMs: 1000,
        orphanGraceMs: 5000,
      },
      events: new EventLog(kept.events, clock, log, inCommandWords),
    };
    this.files = new FileUseCases(this.deps, () => {
      this.kicks += 1;
    });
    this.maintenance = new FileMaintenance(this.deps, this.files.uploads.calls);
    this.upkeep = new Upkeep(this.deps, { repair: () => undefined, deletion: () => undefined });
  }

  id(slot: number): NodeId {
    return this.nodes.snapshot()[slot]!.id;
  }

  async open(replicas = 1, expectedSize = 0): Promise<UploadId> {
    const { upload } = await this.files.uploads.open({ name: 'a.bin', replicas, expectedSize, owner: 'admin' });
    return upload.id;
  }

  grant(id: UploadId, count: number, receipts: readonly ClaimedReceipt[] = []): Promise<ChunkGrant[]> {
    return this.files.uploads.grant(id, { count, retry: [], receipts });
  }

  retry(id: UploadId, index: number, failedNodeIds: readonly string[]): Promise<ChunkGrant[]> {
    return this.files.uploads.grant(id, { count: 0, retry: [{ index, failedNodeIds }], receipts: [] });
  }

  /** What the agents answer when the client has sent the chunk. */
  receiptsOf(grant: ChunkGrant, size = CHUNK_SIZE_BYTES): ClaimedReceipt[] {
    return grant.targets.map((target) => ({
      index: grant.index,
      receipt: this.nodes.receipt(target.nodeId as NodeId, grant.chunkId, size),
    }));
  }

  /** A whole file of full chunks and a last one of 5 bytes. */
  async storeFile(chunksCount: number, replicas = 1): Promise<FileRecord> {
    const id = await this.open(replicas);
    const grants = chunksCount === 0 ? [] : await this.grant(id, chunksCount);
    const sizeOf = (index: number): number => (index === chunksCount - 1 ? 5 : CHUNK_SIZE_BYTES);
    const receipts = grants.flatMap((grant) => this.receiptsOf(grant, sizeOf(grant.index)));
    const size = grants.reduce((sum, grant) => sum + sizeOf(grant.index), 0);
    return await this.files.commit(id, { size, chunksCount, receipts });
  }
}
