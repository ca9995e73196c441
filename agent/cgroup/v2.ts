/** cgroup v2: one hierarchy, one folder. */
import { cgroupField, cgroupNumber } from './files.js';
import { CGROUP_ROOT, type CgroupReader, type CgroupUsage } from './port.js';

export class CgroupV2 implements CgroupReader {
  constructor(private readonly root: string = CGROUP_ROOT) {}

  async read(): Promise<CgroupUsage> {
    const [memoryBytes, inactive, memoryLimitBytes, cpuUsageUsec, pids] = await Promise.all([
      cgroupNumber(this.root, 'memory.current'),
      cgroupField('inactive_file', this.root, 'memory.stat'),
      cgroupNumber(this.root, 'memory.max'),
      cgroupField('usage_usec', this.root, 'cpu.stat'),
      cgroupNumber(this.root, 'pids.current'),
    ]);
    const memoryWorkingSetBytes = Math.max(0, memoryBytes - inactive);
    return { memoryBytes, memoryWorkingSetBytes, memoryLimitBytes, cpuUsageUsec, pids };
  }
}
