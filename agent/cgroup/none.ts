/** No cgroup of its own (process runtime): the node is this one process, and its figures are the process's. */
import type { CgroupReader, CgroupUsage } from './port.js';

export class OwnProcessUsage implements CgroupReader {
  read(): Promise<CgroupUsage> {
    const memoryBytes = process.memoryUsage.rss();
    const { user, system } = process.cpuUsage();
    return Promise.resolve({
      memoryBytes,
      memoryWorkingSetBytes: memoryBytes,
      memoryLimitBytes: 0,
      cpuUsageUsec: user + system,
      pids: 1,
    });
  }
}
