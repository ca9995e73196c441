/** cgroup v1 and the hybrid layout: one folder for each controller. */
import { cgroupFields, cgroupNumber } from './files.js';
import { CGROUP_ROOT, type CgroupReader, type CgroupUsage } from './port.js';

/** "No limit" is the largest multiple of a page in 63 bits; nothing real comes near this. */
const UNLIMITED_FROM_BYTES = 2 ** 60;

/** `total_`: with the children, where all of a node's processes are. */
const PAGE_CACHE = ['total_inactive_file', 'total_active_file'];

export class CgroupV1 implements CgroupReader {
  constructor(private readonly root: string = CGROUP_ROOT) {}

  async read(): Promise<CgroupUsage> {
    const [memoryUsageBytes, pageCache, limit, cpuNs, pids] = await Promise.all([
      cgroupNumber(this.root, 'memory', 'memory.usage_in_bytes'),
      cgroupFields(PAGE_CACHE, this.root, 'memory', 'memory.stat'),
      cgroupNumber(this.root, 'memory', 'memory.limit_in_bytes'),
      cgroupNumber(this.root, 'cpuacct', 'cpuacct.usage'),
      cgroupNumber(this.root, 'pids', 'pids.current'),
    ]);
    return {
      memoryUsageBytes,
      memoryWorkingSetBytes: Math.max(0, memoryUsageBytes - pageCache),
      memoryLimitBytes: limit >= UNLIMITED_FROM_BYTES ? 0 : limit,
      cpuUsageUsec: Math.floor(cpuNs / 1000),
      pids,
    };
  }
}
