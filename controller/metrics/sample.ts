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
  'networkRxBytes',
  'networkTxBytes',
  'networkRxRate',
  'networkTxRate',
  'chunks',
  'chunkBytes',
  'chunkReads',
  'chunkWrites',
  'checksumFailures',
] as const;

/** Bytes, microseconds, and bytes a second for rates; `cpuPercent` 100 is one core fully used. */
export type Sample = Readonly<Record<(typeof SAMPLE_FIELDS)[number], number>>;

export function sampleOf(before: Sample | undefined, report: AgentReport): Sample {
  const atMs = Number(report.atMs);
  const elapsedMs = before === undefined ? 0 : atMs - before.atMs;
  const cpuUsageUsec = Number(report.cpuUsageUsec);
  const networkRxBytes = Number(report.networkRxBytes);
  const networkTxBytes = Number(report.networkTxBytes);
  const perSecond = (was: number | undefined, is: number): number =>
    elapsedMs > 0 ? (increase(was ?? 0, is) * 1000) / elapsedMs : 0;
  return {
    atMs,
    memoryUsageBytes: Number(report.memoryUsageBytes),
    memoryWorkingSetBytes: Number(report.memoryWorkingSetBytes),
    memoryLimitBytes: Number(report.memoryLimitBytes),
    cpuUsageUsec,
    cpuPercent: perSecond(before?.cpuUsageUsec, cpuUsageUsec) / 10_000,
    pids: Number(report.pids),
    volumeTotalBytes: Number(report.volumeTotalBytes),
    volumeUsedBytes: Number(report.volumeUsedBytes),
    volumeFreeBytes: Number(report.volumeFreeBytes),
    networkRxBytes,
    networkTxBytes,
    networkRxRate: perSecond(before?.networkRxBytes, networkRxBytes),
    networkTxRate: perSecond(before?.networkTxBytes, networkTxBytes),
    chunks: Number(report.chunks),
    chunkBytes: Number(report.chunkBytes),
    chunkReads: Number(report.chunkReads),
    chunkWrites: Number(report.chunkWrites),
    checksumFailures: Number(report.checksumFailures),
  };
}

/** As Prometheus has it: a counter that went back began again at 0, so all of it is new. */
const increase = (before: number, after: number): number => (after >= before ? after - before : after);
