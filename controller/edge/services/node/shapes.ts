/** A node as callers receive it. */
import type { Node, NodeReport } from '../../../../shared/gen/nexus/v1/node.js';
import type { Hosting } from '../../../hosting/port.js';
import { identityOf, shownLoopDevice } from '../../../hosting/record.js';
import type { AgentView } from '../../../node/registry.js';
import { hasFigures, isListening } from '../../../node/state.js';
import { conditionOf } from '../../../node/watch/volume-condition.js';
import type { NodeRecord } from '../../../store/port/store.js';

/** `cpuPercent` belongs to the agent's last report. */
export function nodeShape(
  record: NodeRecord,
  agent: AgentView | undefined,
  cpuPercent: number | undefined,
  hosting: Pick<Hosting, 'addressOf'>,
): Node {
  const isUp = isListening(record.status);
  const isKnown = hasFigures(record.status) && agent?.report !== undefined;
  const condition = conditionOf(agent);
  return {
    id: record.id,
    name: record.name,
    status: record.status,
    statusReason: record.statusReason,
    ip: record.ip,
    memoryMb: record.memoryMb,
    cpuShares: record.cpuWeight,
    pidsLimit: record.pidsLimit,
    storageSize: BigInt(record.storageBytes),
    image: record.image,
    labels: { ...record.labels },
    createdAt: new Date(record.createdAt).toISOString(),
    cordoned: record.cordoned,
    draining: record.draining,
    slot: record.hosting.slot,
    report: hasFigures(record.status) ? reportShape(agent, cpuPercent) : undefined,
    pid: isUp ? identityOf(record).pid : 0,
    agentVersion: isUp ? (agent?.version ?? '') : '',
    agentStartedAt: isUp && agent !== undefined && agent.startedAt > 0 ? new Date(agent.startedAt).toISOString() : '',
    dataAddress: hosting.addressOf(record),
    loopDevice: shownLoopDevice(record),
    volumeState: isKnown ? condition.state : '',
    volumeReason: isKnown ? condition.reason : '',
  };
}

function reportShape(agent: AgentView | undefined, cpuPercent: number | undefined): NodeReport | undefined {
  const report = agent?.report;
  if (report === undefined) return undefined;
  return {
    at: new Date(Number(report.atMs)).toISOString(),
    memoryUsageBytes: report.memoryUsageBytes,
    memoryLimitBytes: report.memoryLimitBytes,
    cpuUsageUsec: report.cpuUsageUsec,
    cpuPercent,
    volumeUsedBytes: report.volumeUsedBytes,
    volumeFreeBytes: report.volumeFreeBytes,
    volumeTotalBytes: report.volumeTotalBytes,
    networkRxBytes: report.networkRxBytes,
    networkTxBytes: report.networkTxBytes,
    chunks: report.chunks,
    chunkBytes: report.chunkBytes,
    pids: report.pids,
    volumeInodes: report.volumeInodes,
    volumeFreeInodes: report.volumeFreeInodes,
  };
}
