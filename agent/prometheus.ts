/**
 * One agent's figures in the Prometheus text format: base units, `_total` for counters, the node as label. The names say
 * who counted: nexus_node_* are the same things as the controller heard of them, and both may be scraped.
 */
import type { NodeUsage } from './report.js';

export interface MetricsSnapshot {
  readonly node: string;
  readonly usage: NodeUsage;
  readonly activeTransfers: number;
  readonly uptimeSeconds: number;
}

interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly value: number;
}

export function prometheusText(snapshot: MetricsSnapshot): string {
  // A node's name is an RFC 1123 label: nothing in it needs escaping.
  const label = `{node="${snapshot.node}"}`;
  return metricsOf(snapshot)
    .map(({ name, type, help, value }) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name}${label} ${value}\n`)
    .join('');
}

function metricsOf({ usage, activeTransfers, uptimeSeconds }: MetricsSnapshot): Metric[] {
  const { cgroup, volume, condition, network, chunks, logLinesDropped } = usage;
  const gauge = (name: string, help: string, value: number): Metric => ({
    name: `nexus_agent_${name}`,
    type: 'gauge',
    help,
    value,
  });
  const counter = (name: string, help: string, value: number): Metric => ({
    name: `nexus_agent_${name}_total`,
    type: 'counter',
    help,
    value,
  });
  return [
    gauge('uptime_seconds', 'Time since the agent started.', uptimeSeconds),
    gauge('memory_usage_bytes', 'Memory of all processes of the node, page cache included.', cgroup.memoryBytes),
    gauge(
      'memory_working_set_bytes',
      'Memory without the page cache that can be dropped.',
      cgroup.memoryWorkingSetBytes,
    ),
    gauge('memory_limit_bytes', 'Memory limit of the node; 0: none.', cgroup.memoryLimitBytes),
    counter('cpu_seconds', 'CPU time of all processes of the node.', cgroup.cpuUsageUsec / 1e6),
    gauge('pids', 'Processes and threads of the node.', cgroup.pids),
    gauge('volume_size_bytes', 'Size of the volume.', volume.totalBytes),
    gauge('volume_used_bytes', 'Bytes in use on the volume.', volume.usedBytes),
    gauge('volume_free_bytes', 'Bytes that can still be written.', volume.freeBytes),
    gauge('volume_inodes', 'Inodes of the volume; 0: they are not counted.', volume.totalInodes),
    gauge('volume_free_inodes', 'Inodes that can still be used.', volume.freeInodes),
    gauge(
      'volume_healthy',
      '1: the volume takes, keeps and gives data; 0: it is full, read-only, failing or hung.',
      Number(condition.state === 'ok'),
    ),
    counter('network_receive_bytes', 'Bytes received by the node.', network.receivedBytes),
    counter('network_transmit_bytes', 'Bytes sent by the node.', network.sentBytes),
    gauge('chunks', 'Chunks stored.', chunks.chunks),
    gauge('chunk_bytes', 'Bytes in the chunks stored.', chunks.bytes),
    counter('chunk_reads', 'Chunks read since the agent started.', chunks.reads),
    counter('chunk_writes', 'Chunks written since the agent started.', chunks.writes),
    counter('chunk_checksum_failures', 'Chunks whose content was not what it should be.', chunks.checksumFailures),
    counter('log_lines_dropped', 'Lines of the log that could not be written.', logLinesDropped),
    gauge('chunk_transfers', 'Chunk transfers running.', activeTransfers),
  ];
}
