/** Messages that the agent sends unasked: heartbeats, and reports of its node's usage. */
import type { AgentConfig } from '../shared/config/agent-config.js';
import { AgentHeartbeat, AgentReport } from '../shared/gen/nexus/v1/agent.js';
import { HEARTBEAT_INTERVAL_MS, REPORT_INTERVAL_MS } from '../shared/limits.js';
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

const reportOf = ({ atMs, figures, condition }: NodeUsage): AgentReport => ({
  atMs: BigInt(atMs),
  volumeState: condition.state,
  volumeReason: condition.reason,
  ...reportedFigures(figures),
});

/** Agents of a machine beat in this many groups, so that those of a thousand nodes don't all wake at once. */
const PHASES = 4;
export const BEATS_PER_REPORT = REPORT_INTERVAL_MS / HEARTBEAT_INTERVAL_MS;

/** When within a second the node's agent beats, and with which of the beats it reports. */
export function placeInTime(nodeId: string): { readonly phaseMs: number; readonly turn: number } {
  const place = parseInt(nodeId.slice(-4), 16);
  return {
    phaseMs: (place % PHASES) * (HEARTBEAT_INTERVAL_MS / PHASES),
    turn: Math.floor(place / PHASES) % BEATS_PER_REPORT,
  };
}
