/** No cgroup of its own (process runtime): the node is this one process, and its figures are the process's. */
import type { CgroupReader, CgroupUsage } from './port.js';

export class OwnProcessUsage implements CgroupReader {
  read(): Promise<CgroupUsage> {
    const memoryUsageBytes = process.memoryUsage.rss();
    const { user, system } = process.cpuUsage();
    return Promise.resolve({
      memoryUsageBytes,
      memoryWorkingSetBytes: memoryUsageBytes,
      memoryLimitBytes: 0,
      cpuUsageUsec: user + system,
      pids: 1,
    });
  }
}
