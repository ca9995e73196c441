/** Heartbeats, which the agent sends unasked; they carry the last report of its node's usage. */
import type { AgentConfig } from '../shared/config/agent-config.js';
import { AgentHeartbeat, type AgentReport } from '../shared/gen/nexus/v1/agent.js';
import { type CgroupReader, readNetworkUsage } from './usage.js';
import type { ChunkCounters } from './chunk/store.js';
import { reportedFigures, type NodeFigures } from '../shared/metrics/node-fields.js';
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
  readonly figures: NodeFigures;
  readonly condition: VolumeCondition;
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
  const [cgroup, volume] = await Promise.all([sources.cgroup.read(), sources.volume.usage()]);
  const network = readNetworkUsage(sources.networkInterface);
  const chunks = sources.chunkCounters();
  const figures = {
    ...cgroup,
    volumeTotalBytes: volume.totalBytes,
    volumeUsedBytes: volume.usedBytes,
    volumeFreeBytes: volume.freeBytes,
    volumeInodes: volume.totalInodes,
    volumeFreeInodes: volume.freeInodes,
    networkRxBytes: network.receivedBytes,
    networkTxBytes: network.sentBytes,
    chunks: chunks.chunks,
    chunkBytes: chunks.bytes,
    chunkReads: chunks.reads,
    chunkWrites: chunks.writes,
    checksumFailures: chunks.checksumFailures,
    logLinesDropped: sources.logLinesDropped(),
  };
  return { atMs: sources.now(), figures, condition: sources.volume.condition };
}

export interface Beat {
  readonly draining: boolean;
  /** Time until the next heartbeat. */
  readonly intervalMs: number;
  /** Repeated in each, so that a restarted controller need not wait for the next one. */
  readonly reported: NodeUsage | undefined;
}

export function encodeHeartbeat(identity: AgentIdentity, { draining, intervalMs, reported }: Beat): Uint8Array {
  return AgentHeartbeat.encode({
    ...identity,
    startedAtMs: BigInt(identity.startedAtMs),
    draining,
    intervalMs,
    report: reported === undefined ? undefined : reportOf(reported),
  }).finish();
}

export const reportOf = ({ atMs, figures, condition }: NodeUsage): AgentReport => ({
  atMs: BigInt(atMs),
  volumeState: condition.state,
  volumeReason: condition.reason,
  ...reportedFigures(figures),
});
