/** What the agent tells of itself: the report to the controller and the pages for whoever looks at it alone. */
import type { AgentReport } from '../shared/gen/nexus/v1/agent.js';
import { VERSION } from '../shared/version.js';
import type { CgroupReader } from './cgroup/port.js';
import type { StatusPages } from './chunk/server.js';
import type { ChunkStore } from './chunk/store.js';
import type { Transfers } from './chunk/transfers.js';
import { readNetworkUsage } from './network/interface.js';
import type { Volume } from './volume/port.js';

export interface StatusSources {
  readonly nodeId: string;
  readonly nodeName: string;
  readonly agentInstance: string;
  readonly startedAtMs: number;
  readonly networkInterface: string;
  readonly store: ChunkStore;
  readonly transfers: Transfers;
  readonly volume: Volume;
  readonly cgroup: CgroupReader;
  readonly now: () => number;
}

export interface RecentCommand {
  readonly at: string;
  readonly command: string;
  /** Empty: done. */
  readonly error_code: string;
}

const RECENT_COMMANDS = 20;

export class AgentStatus {
  readonly #commands: RecentCommand[] = [];

  constructor(private readonly sources: StatusSources) {}

  noteCommand(command: string, errorCode: string): void {
    this.#commands.push({ at: new Date(this.sources.now()).toISOString(), command, error_code: errorCode });
    if (this.#commands.length > RECENT_COMMANDS) this.#commands.shift();
  }

  async report(): Promise<AgentReport> {
    const { store, volume, cgroup, networkInterface, now } = this.sources;
    const [usage, used, network] = await Promise.all([volume.usage(), cgroup.read(), readNetworkUsage(networkInterface)]);
    const { counters } = store;
    return {
      atMs: BigInt(Math.round(now())),
      memoryUsageBytes: BigInt(used.memoryBytes),
      memoryWorkingSetBytes: BigInt(used.memoryWorkingSetBytes),
      memoryLimitBytes: BigInt(used.memoryLimitBytes),
      cpuUsageUsec: BigInt(used.cpuUsageUsec),
      pids: BigInt(used.pids),
      volumeTotalBytes: BigInt(usage.totalBytes),
      volumeUsedBytes: BigInt(usage.usedBytes),
      volumeFreeBytes: BigInt(usage.freeBytes),
      networkRxBytes: BigInt(network.receivedBytes),
      networkTxBytes: BigInt(network.sentBytes),
      chunks: BigInt(counters.chunks),
      chunkBytes: BigInt(counters.bytes),
      chunkReads: BigInt(counters.reads),
      chunkWrites: BigInt(counters.writes),
      checksumFailures: BigInt(counters.checksumFailures),
    };
  }

  /** JSON of GET /inspect. */
  async inspection(): Promise<string> {
    const { nodeId, nodeName, agentInstance, startedAtMs, store, transfers, volume, now } = this.sources;
    const usage = await volume.usage();
    const page = {
      node_id: nodeId,
      node: nodeName,
      version: VERSION,
      agent_instance: agentInstance,
      started_at: new Date(startedAtMs).toISOString(),
      uptime_s: Math.round((now() - startedAtMs) / 1000),
      pid: process.pid,
      volume: { total_bytes: usage.totalBytes, used_bytes: usage.usedBytes, free_bytes: usage.freeBytes },
      chunks: store.counters,
      transfers: { active: transfers.active, bound: transfers.bound, draining: transfers.draining },
      last_commands: this.#commands,
    };
    return `${JSON.stringify(page, null, 2)}\n`;
  }

  pages(): StatusPages {
    return {
      '/healthz': { contentType: 'text/plain; charset=utf-8', render: () => Promise.resolve('ok\n') },
      '/inspect': { contentType: 'application/json', render: () => this.inspection() },
      '/metrics': { contentType: 'text/plain; version=0.0.4; charset=utf-8', render: () => this.#metrics() },
    };
  }

  /** Prometheus text format 0.0.4. */
  async #metrics(): Promise<string> {
    const report = await this.report();
    const label = `{node="${this.sources.nodeName}"}`;
    const series: readonly [name: string, type: 'gauge' | 'counter', help: string, value: number][] = [
      ['nexus_agent_memory_usage_bytes', 'gauge', 'Memory of all processes of the node.', Number(report.memoryUsageBytes)],
      ['nexus_agent_memory_working_set_bytes', 'gauge', 'Memory that cannot be reclaimed by dropping caches.', Number(report.memoryWorkingSetBytes)],
      ['nexus_agent_cpu_seconds_total', 'counter', 'Processor time of the node.', Number(report.cpuUsageUsec) / 1e6],
      ['nexus_agent_volume_total_bytes', 'gauge', 'Size of the volume.', Number(report.volumeTotalBytes)],
      ['nexus_agent_volume_free_bytes', 'gauge', 'What the agent can still store.', Number(report.volumeFreeBytes)],
      ['nexus_agent_network_receive_bytes_total', 'counter', 'Bytes received.', Number(report.networkRxBytes)],
      ['nexus_agent_network_transmit_bytes_total', 'counter', 'Bytes sent.', Number(report.networkTxBytes)],
      ['nexus_agent_chunks', 'gauge', 'Chunks on the volume.', Number(report.chunks)],
      ['nexus_agent_chunk_bytes', 'gauge', 'Bytes of the chunks on the volume.', Number(report.chunkBytes)],
      ['nexus_agent_chunk_reads_total', 'counter', 'Chunks read.', Number(report.chunkReads)],
      ['nexus_agent_chunk_writes_total', 'counter', 'Chunks written.', Number(report.chunkWrites)],
      ['nexus_agent_checksum_failures_total', 'counter', 'Chunks that did not match their checksum.', Number(report.checksumFailures)],
    ];
    return series
      .map(([name, type, help, value]) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name}${label} ${value}\n`)
      .join('');
  }
}
