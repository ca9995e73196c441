/** A node's use of resources as a test sets it. Scriptable: see FakeScript; the call is named `cgroup.read`. */
import { FakeScript } from './script.js';
import type { CgroupReader } from '../../agent/usage.js';
import { NO_USAGE, type CgroupUsage } from '../../shared/cgroup/figures.js';

export class FakeCgroup implements CgroupReader {
  usage = NO_USAGE;

  constructor(readonly script = new FakeScript()) {}

  read(): Promise<CgroupUsage> {
    return this.script.run('cgroup.read', '', () => ({ ...this.usage }));
  }
}
