/** cgroup v2: one hierarchy, one folder. */
import { cgroupFields, cgroupNumber } from './files.js';
import { CGROUP_ROOT, type CgroupReader, type CgroupUsage } from './port.js';

/** Both lists can be dropped; a node that reads its chunks twice has most of it on the active one. */
const PAGE_CACHE = ['inactive_file', 'active_file'];

export class CgroupV2 implements CgroupReader {
  constructor(private readonly root: string = CGROUP_ROOT) {}

  async read(): Promise<CgroupUsage> {
    const [memoryUsageBytes, pageCache, memoryLimitBytes, cpuUsageUsec, pids] = await Promise.all([
      cgroupNumber(this.root, 'memory.current'),
      cgroupFields(PAGE_CACHE, this.root, 'memory.stat'),
      cgroupNumber(this.root, 'memory.max'),
      cgroupFields(['usage_usec'], this.root, 'cpu.stat'),
      cgroupNumber(this.root, 'pids.current'),
    ]);
    const memoryWorkingSetBytes = Math.max(0, memoryUsageBytes - pageCache);
    return { memoryUsageBytes, memoryWorkingSetBytes, memoryLimitBytes, cpuUsageUsec, pids };
  }
}
