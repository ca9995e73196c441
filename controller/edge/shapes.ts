/** Messages that more than one service answers with. */
import type { LambdaSummary, RepairSummary, StorageSummary } from '../../shared/gen/nexus/v1/cluster.js';
import type { File, OpenUploadResponse } from '../../shared/gen/nexus/v1/file.js';
import type { GetLambdaStatisticsResponse } from '../../shared/gen/nexus/v1/lambda.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { ShownStatus } from '../file/health.js';
import type { Lambda } from '../lambda/use-cases.js';
import type { NodeContext } from '../node/context.js';
import { hasFigures } from '../node/state.js';
import type { Upkeep } from '../repair/upkeep.js';
import type { FileRecord, StorageTotals, UploadRecord } from '../store/port/store.js';

/** Capacity and free room count Running and Suspect nodes only; free room is limited by the host's disk. */
export function storageShape(
  totals: StorageTotals,
  { registry, hostRoom }: Pick<NodeContext, 'registry' | 'hostRoom'>,
  upkeep: Upkeep,
): StorageSummary {
  const { unavailable, damaged, lost } = upkeep.repair.status().filesInTrouble;
  const heard = registry.list().filter((node) => hasFigures(node.status));
  let capacityBytes = 0n;
  let freeBytes = 0;
  for (const { id } of heard) {
    const { volumeTotalBytes = 0n, volumeFreeBytes = 0n } = registry.agent(id)?.report ?? {};
    capacityBytes += volumeTotalBytes;
    freeBytes += Math.min(Number(volumeFreeBytes), hostRoom.of(id));
  }
  return {
    files: BigInt(totals.files),
    chunks: BigInt(totals.chunks),
    bytes: BigInt(totals.bytes),
    underReplicated: BigInt(totals.underReplicated),
    pendingDeletes: BigInt(totals.pendingDeletes),
    capacityBytes,
    freeBytes: BigInt(freeBytes),
    unavailableFiles: BigInt(unavailable),
    damagedFiles: BigInt(damaged),
    lostFiles: BigInt(lost),
  };
}

export function repairShape(upkeep: Upkeep): RepairSummary {
  const status = upkeep.repair.status();
  return {
    lackingChunks: BigInt(status.lackingChunks),
    endangeredChunks: BigInt(status.endangeredChunks),
    lostChunks: BigInt(status.lostChunks),
    remainingBytes: BigInt(status.remainingBytes),
    running: status.running,
    copiedChunks: BigInt(status.copiedChunks),
    copiedBytes: BigInt(status.copiedBytes),
    rate: status.rate,
    secondsLeft: status.rate > 0 ? status.remainingBytes / status.rate : 0,
    blocked: [...status.blocked],
    scrubbingNodes: upkeep.scrub.running,
    orphanChunks: BigInt(upkeep.inventory.orphans),
  };
}

export const openedShape = (upload: UploadRecord, file: FileRecord, leaseMs: number): OpenUploadResponse => ({
  uploadId: upload.id,
  fileId: file.id,
  chunkSize: CHUNK_SIZE_BYTES,
  replicas: upload.replicas,
  leaseMs,
});

/** Without `health` the status is the record's own: the copies were not checked. */
export const fileShape = (file: FileRecord, health: ShownStatus = file.status): File => ({
  id: file.id,
  name: file.name,
  size: BigInt(file.size),
  chunksCount: file.chunksCount,
  replicas: file.replicas,
  owner: file.owner,
  status: health,
  createdAt: new Date(file.createdAt).toISOString(),
  explicitSizes: file.explicitSizes,
});

/** How things are at present. */
export const lambdaSummary = ({ dispatcher, pool }: Lambda): LambdaSummary => ({
  queueLength: dispatcher.queueLength,
  running: dispatcher.running,
  poolReady: pool.ready(),
  poolTarget: pool.target,
});

export const statisticsShape = (lambda: Lambda): GetLambdaStatisticsResponse => {
  const { statistics } = lambda;
  return {
    ...lambdaSummary(lambda),
    invocations: Object.fromEntries([...statistics.invocations].map(([reason, count]) => [reason, BigInt(count)])),
    refused: BigInt(statistics.refused),
    poolHits: BigInt(statistics.poolHits),
    poolMisses: BigInt(statistics.poolMisses),
    latency: statistics.latency.map(({ le, count }) => ({ le, count: BigInt(count) })),
    latencySumSeconds: statistics.latencySumSeconds,
  };
};
