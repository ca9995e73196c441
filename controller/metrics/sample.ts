/** One report of an agent, with what follows from it and the one before. Pure. */
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
/** What follows from two reports. */
type Rate = 'cpuPercent' | 'networkRxRate' | 'networkTxRate';

/**
 * Bytes, microseconds, and bytes a second for rates; `cpuPercent` 100 is one core fully used. Rates are undefined in the
 * first report that this controller hears of a node: 0 would say that it rests.
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

/** As Prometheus has it: a counter that went back began again at 0, so all of it is new. */
const increase = (before: number, after: number): number => (after >= before ? after - before : after);
