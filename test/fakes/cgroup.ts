/** A node's use of resources as a test sets it. Scriptable: see FakeScript; the call is named `cgroup.read`. */
import { FakeScript } from './script.js';
import type { CgroupReader, CgroupUsage } from '../../agent/cgroup/port.js';

export const NO_USAGE: CgroupUsage = {
  memoryUsageBytes: 0,
  memoryWorkingSetBytes: 0,
  memoryLimitBytes: 0,
  cpuUsageUsec: 0,
  pids: 0,
};

export class FakeCgroup implements CgroupReader {
  usage = NO_USAGE;

  constructor(readonly script = new FakeScript()) {}

  read(): Promise<CgroupUsage> {
    return this.script.run('cgroup.read', '', () => ({ ...this.usage }));
  }
}
