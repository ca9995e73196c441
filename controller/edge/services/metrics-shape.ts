/** One sample of a node as its message. */
import type { NodeMetrics } from '../../../shared/gen/nexus/v1/metrics.js';
import type { Sample } from '../../metrics/sample.js';
import type { NodeRecord } from '../../store/port/store.js';

export const metricsShape = (node: NodeRecord, sample: Sample): NodeMetrics => ({
  nodeId: node.id,
  node: node.name,
  at: new Date(sample.atMs).toISOString(),
  memoryUsage: BigInt(sample.memoryUsageBytes),
  memoryWorkingSet: BigInt(sample.memoryWorkingSetBytes),
  memoryLimit: BigInt(sample.memoryLimitBytes),
  cpuPercent: sample.cpuPercent,
  cpuSeconds: sample.cpuUsageUsec / 1e6,
  pids: BigInt(sample.pids),
  volumeTotal: BigInt(sample.volumeTotalBytes),
  volumeUsed: BigInt(sample.volumeUsedBytes),
  volumeFree: BigInt(sample.volumeFreeBytes),
  volumeInodes: BigInt(sample.volumeInodes),
  volumeFreeInodes: BigInt(sample.volumeFreeInodes),
  networkRx: BigInt(sample.networkRxBytes),
  networkTx: BigInt(sample.networkTxBytes),
  networkRxRate: sample.networkRxRate,
  networkTxRate: sample.networkTxRate,
  chunks: BigInt(sample.chunks),
  chunkBytes: BigInt(sample.chunkBytes),
  chunkReads: BigInt(sample.chunkReads),
  chunkWrites: BigInt(sample.chunkWrites),
  checksumFailures: BigInt(sample.checksumFailures),
  logLinesDropped: BigInt(sample.logLinesDropped),
});
