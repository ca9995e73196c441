/**
 * The agent seen alone, without the controller's help: /healthz, /inspect and /chunks (JSON), /metrics (Prometheus text).
 * Read-only, bounded, and open to whoever reaches the agent; so no page holds keys, tokens, or names of users' files.
 */
import type { ListedChunk } from './chunk/inventory.js';
import { chunksPage } from './chunks-page.js';
import type { Transfers } from './chunk/transfers.js';
import type { StatusPages } from './chunk/server.js';
import type { CommandLog } from './command-log.js';
import { prometheusText } from './prometheus.js';
import type { AgentIdentity, NodeUsage } from './report.js';

export interface StatusSources {
  readonly identity: AgentIdentity;
  readonly nodeName: string;
  readonly usage: () => Promise<NodeUsage>;
  readonly transfers: Transfers;
  /** HTTP connections open at present. */
  readonly connections: () => Promise<number>;
  readonly busConnected: () => boolean;
  readonly commands: CommandLog;
  /** In order of id, those above `after`. */
  readonly listChunks: (after: string, limit: number) => Promise<readonly ListedChunk[]>;
  readonly now: () => number;
}

/** Field names are a promise to scripts. */
export async function inspection(sources: StatusSources): Promise<string> {
  const { identity, transfers } = sources;
  const { figures, condition } = await sources.usage();
  return JSON.stringify({
    node_id: identity.nodeId,
    node: sources.nodeName,
    version: identity.version,
    agent_instance: identity.agentInstance,
    pid: process.pid,
    started_at: new Date(identity.startedAtMs).toISOString(),
    uptime_s: Math.floor((sources.now() - identity.startedAtMs) / 1000),
    draining: transfers.draining,
    nats_connected: sources.busConnected(),
    connections: await sources.connections(),
    transfers: { active: transfers.active, limit: transfers.bound },
    volume: {
      total_bytes: figures.volumeTotalBytes,
      used_bytes: figures.volumeUsedBytes,
      free_bytes: figures.volumeFreeBytes,
      inodes: figures.volumeInodes,
      free_inodes: figures.volumeFreeInodes,
      state: condition.state,
      reason: condition.reason,
    },
    memory: {
      usage_bytes: figures.memoryUsageBytes,
      working_set_bytes: figures.memoryWorkingSetBytes,
      limit_bytes: figures.memoryLimitBytes,
    },
    cpu_usage_usec: figures.cpuUsageUsec,
    pids: figures.pids,
    network: { rx_bytes: figures.networkRxBytes, tx_bytes: figures.networkTxBytes },
    chunks: {
      count: figures.chunks,
      bytes: figures.chunkBytes,
      reads: figures.chunkReads,
      writes: figures.chunkWrites,
      checksum_failures: figures.checksumFailures,
    },
    commands: sources.commands.entries,
  });
}

export function statusPages(sources: StatusSources): StatusPages {
  return {
    '/healthz': {
      contentType: 'application/json',
      render: () => Promise.resolve(JSON.stringify({ status: sources.transfers.draining ? 'draining' : 'ok' })),
    },
    '/inspect': { contentType: 'application/json', render: () => inspection(sources) },
    '/chunks': { contentType: 'application/json', render: (query) => chunksPage(sources.listChunks, query) },
    '/metrics': {
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      render: async () =>
        prometheusText({
          node: sources.nodeName,
          usage: await sources.usage(),
          activeTransfers: sources.transfers.active,
          uptimeSeconds: (sources.now() - sources.identity.startedAtMs) / 1000,
        }),
    },
  };
}
