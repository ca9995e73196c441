/** One report of an agent, with the rates computed from it and the previous one. Pure. */
import type { AgentReport } from '../../shared/gen/nexus/v1/agent.js';

/** The order in which a series stores them. */
export const SAMPLE_FIELDS = [
  'atMs',
  'memoryUsageBytes',
  'memoryWorkingSetBytes',
  'memoryLimitBytes',
  'cpuUsageUsec',
  'cpuPercent',
  'pids',
  'volumeTotalBytes',
  'volumeUsedBytes',
  'volumeFreeBytes',
  'volumeInodes',
  'volumeFreeInodes',
  'networkRxBytes',
  'networkTxBytes',
  'networkRxRate',
  'networkTxRate',
  'chunks',
  'chunkBytes',
  'chunkReads',
  'chunkWrites',
  'checksumFailures',
  'logLinesDropped',
] as const;

type Field = (typeof SAMPLE_FIELDS)[number];
/** Fields computed from two reports. */
type Rate = 'cpuPercent' | 'networkRxRate' | 'networkTxRate';

/**
 * Bytes, microseconds, and bytes per second for rates; `cpuPercent` 100 is one core fully used. Rates are undefined in
 * the first report of a node that this controller receives: 0 would mean that it is idle.
 */
export type Sample = Readonly<Record<Exclude<Field, Rate>, number> & Record<Rate, number | undefined>>;

/** `report` is newer than `before`. */
export function sampleOf(before: Sample | undefined, report: AgentReport): Sample {
  const atMs = Number(report.atMs);
  const cpuUsageUsec = Number(report.cpuUsageUsec);
  const networkRxBytes = Number(report.networkRxBytes);
  const networkTxBytes = Number(report.networkTxBytes);
  const perSecond = (counter: 'cpuUsageUsec' | 'networkRxBytes' | 'networkTxBytes', is: number): number | undefined =>
    before === undefined ? undefined : (increase(before[counter], is) * 1000) / (atMs - before.atMs);
  const cpuUsecPerSecond = perSecond('cpuUsageUsec', cpuUsageUsec);
  return {
    atMs,
    memoryUsageBytes: Number(report.memoryUsageBytes),
    memoryWorkingSetBytes: Number(report.memoryWorkingSetBytes),
    memoryLimitBytes: Number(report.memoryLimitBytes),
    cpuUsageUsec,
    cpuPercent: cpuUsecPerSecond === undefined ? undefined : cpuUsecPerSecond / 10_000,
    pids: Number(report.pids),
    volumeTotalBytes: Number(report.volumeTotalBytes),
    volumeUsedBytes: Number(report.volumeUsedBytes),
    volumeFreeBytes: Number(report.volumeFreeBytes),
    volumeInodes: Number(report.volumeInodes),
    volumeFreeInodes: Number(report.volumeFreeInodes),
    networkRxBytes,
    networkTxBytes,
    networkRxRate: perSecond('networkRxBytes', networkRxBytes),
    networkTxRate: perSecond('networkTxBytes', networkTxBytes),
    chunks: Number(report.chunks),
    chunkBytes: Number(report.chunkBytes),
    chunkReads: Number(report.chunkReads),
    chunkWrites: Number(report.chunkWrites),
    checksumFailures: Number(report.checksumFailures),
    logLinesDropped: Number(report.logLinesDropped),
  };
}

/** As in Prometheus: a counter that decreased was reset to 0, so its whole value is new. */
const increase = (before: number, after: number): number => (after >= before ? after - before : after);
