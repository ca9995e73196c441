/**
 * The resources that the node uses, all its processes together. `read` may be called at any time and concurrently. A
 * number that the host does not tell is 0: a missing counter must not cost the report its other figures.
 */
export interface CgroupUsage {
  readonly memoryUsageBytes: number;
  /** Memory that can't be reclaimed by dropping page cache: usage minus inactive file pages. */
  readonly memoryWorkingSetBytes: number;
  /** 0: no limit. */
  readonly memoryLimitBytes: number;
  /** Cumulative. */
  readonly cpuUsageUsec: number;
  readonly pids: number;
}

export interface CgroupReader {
  read(): Promise<CgroupUsage>;
}

/** Where a node finds its own cgroup: a read-only mount inside its cgroup namespace. */
export const CGROUP_ROOT = '/sys/fs/cgroup';
