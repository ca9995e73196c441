/** Storage and repair summaries, shared by status and metrics. */
import type { RepairSummary, StorageSummary } from '../../shared/gen/nexus/v1/cluster.js';
import type { NodeContext } from '../node/context.js';
import { hasFigures } from '../node/state.js';
import type { Upkeep } from '../repair/upkeep.js';
import type { StorageTotals } from '../store/port/store.js';

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
