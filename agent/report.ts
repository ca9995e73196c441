/** Messages that the agent sends unasked: heartbeats, and reports of its node's usage. */
import type { AgentConfig } from '../shared/config/agent-config.js';
import { AgentHeartbeat, AgentReport } from '../shared/gen/nexus/v1/agent.js';
import type { CgroupReader, CgroupUsage } from './cgroup/port.js';
import type { ChunkCounters } from './chunk/store.js';
import { readNetworkUsage, type NetworkUsage } from './network/interface.js';
import type { VolumeCondition } from '../shared/volume-state.js';
import type { VolumeUsage } from './volume/port.js';

/** Identifies this process in every heartbeat. */
export interface AgentIdentity {
  readonly nodeId: string;
  /** Random, new with each process. */
  readonly agentInstance: string;
  /** ms since the epoch. */
  readonly startedAtMs: number;
  readonly version: string;
  /** Raw Ed25519 key. */
  readonly receiptPublicKey: Buffer;
}

export interface NodeUsage {
  readonly atMs: number;
  readonly cgroup: CgroupUsage;
  readonly volume: VolumeUsage;
  readonly condition: VolumeCondition;
  readonly network: NetworkUsage;
  readonly chunks: Readonly<ChunkCounters>;
  readonly logLinesDropped: number;
}

export interface UsageSources {
  readonly cgroup: CgroupReader;
  readonly volume: { readonly condition: VolumeCondition; usage(): Promise<VolumeUsage> };
  readonly networkInterface: AgentConfig['networkInterface'];
  readonly chunkCounters: () => Readonly<ChunkCounters>;
  readonly logLinesDropped: () => number;
  readonly now: () => number;
}

export async function readUsage(sources: UsageSources): Promise<NodeUsage> {
  const [cgroup, volume, network] = await Promise.all([
    sources.cgroup.read(),
    sources.volume.usage(),
    readNetworkUsage(sources.networkInterface),
  ]);
  const { condition } = sources.volume;
  const logLinesDropped = sources.logLinesDropped();
  const chunks = { ...sources.chunkCounters() };
  return { atMs: sources.now(), cgroup, volume, condition, network, chunks, logLinesDropped };
}

/** `reported`: the last report, repeated here so that a restarted controller need not wait for the next. */
export function encodeHeartbeat(identity: AgentIdentity, draining: boolean, reported?: NodeUsage): Uint8Array {
  return AgentHeartbeat.encode({
    ...identity,
    startedAtMs: BigInt(identity.startedAtMs),
    draining,
    report: reported === undefined ? undefined : reportOf(reported),
  }).finish();
}

export const encodeReport = (usage: NodeUsage): Uint8Array => AgentReport.encode(reportOf(usage)).finish();

function reportOf({ atMs, cgroup, volume, condition, network, chunks, logLinesDropped }: NodeUsage): AgentReport {
  return {
    atMs: BigInt(atMs),
    memoryUsageBytes: BigInt(cgroup.memoryBytes),
    memoryWorkingSetBytes: BigInt(cgroup.memoryWorkingSetBytes),
    memoryLimitBytes: BigInt(cgroup.memoryLimitBytes),
    cpuUsageUsec: BigInt(cgroup.cpuUsageUsec),
    pids: BigInt(cgroup.pids),
    volumeTotalBytes: BigInt(volume.totalBytes),
    volumeUsedBytes: BigInt(volume.usedBytes),
    volumeFreeBytes: BigInt(volume.freeBytes),
    networkRxBytes: BigInt(network.receivedBytes),
    networkTxBytes: BigInt(network.sentBytes),
    chunks: BigInt(chunks.chunks),
    chunkBytes: BigInt(chunks.bytes),
    chunkReads: BigInt(chunks.reads),
    chunkWrites: BigInt(chunks.writes),
    checksumFailures: BigInt(chunks.checksumFailures),
    volumeState: condition.state,
    volumeReason: condition.reason,
    volumeInodes: BigInt(volume.totalInodes),
    volumeFreeInodes: BigInt(volume.freeInodes),
    logLinesDropped: BigInt(logLinesDropped),
  };
}
