/** What every reader of a node's resources keeps: the same figures from any layout, and 0 for what is not told. */
import { expect } from 'chai';
import type { CgroupReader } from '../../agent/usage.js';
import { NO_USAGE } from '../../shared/cgroup/figures.js';
import { CGROUPS, type OpenedCgroup } from '../support/agent-ports.js';

for (const { name, unlimited, open } of CGROUPS) {
  describe(`cgroup reader, ${name}`, () => {
    let opened: OpenedCgroup;
    let reader: CgroupReader;

    beforeEach(async () => {
      opened = await open();
      ({ reader } = opened);
    });
    afterEach(async () => {
      await opened.dispose();
    });

    it('tells whole numbers, none below 0, and no more that is needed than is used', async () => {
      const usage = await reader.read();
      for (const [what, value] of Object.entries(usage)) {
        expect(Number.isSafeInteger(value), what).to.equal(true);
        expect(value, what).to.be.at.least(0);
      }
      expect(usage.memoryWorkingSetBytes).to.be.at.most(usage.memoryUsageBytes);
    });

    it('never counts processor time back, however many ask at once', async () => {
      const before = await reader.read();
      const later = await Promise.all(Array.from({ length: 20 }, () => reader.read()));
      for (const { cpuUsageUsec } of later) expect(cpuUsageUsec).to.be.at.least(before.cpuUsageUsec);
    });

    if (unlimited === undefined) return;

    it('reads what the kernel counts', async () => {
      await opened.record({
        memory: '50331648',
        pageCache: '31457280',
        memoryLimit: '268435456',
        cpuUsec: '1234567',
        pids: '12',
      });
      expect(await reader.read()).to.deep.equal({
        memoryUsageBytes: 50331648,
        memoryWorkingSetBytes: 18874368,
        memoryLimitBytes: 268435456,
        cpuUsageUsec: 1234567,
        pids: 12,
      });
    });

    it('tells no limit as 0', async () => {
      await opened.record({ memory: '4096', memoryLimit: unlimited });
      expect(await reader.read()).to.deep.include({ memoryUsageBytes: 4096, memoryLimitBytes: 0 });
    });

    it('tells what is missing as 0, and the rest all the same', async () => {
      expect(await reader.read()).to.deep.equal(NO_USAGE);
      await opened.record({ pids: '7' });
      expect(await reader.read()).to.deep.equal({ ...NO_USAGE, pids: 7 });
    });

    it('tells what it cannot understand as 0, and the rest all the same', async () => {
      await opened.record({ memory: 'many', pageCache: 'some', memoryLimit: 'few', cpuUsec: 'long', pids: '7' });
      expect(await reader.read()).to.deep.equal({ ...NO_USAGE, pids: 7 });
    });

    it('has a working set of 0 when more is reclaimable than is used', async () => {
      // The two are read one after the other while the kernel goes on.
      await opened.record({ memory: '4096', pageCache: '8192' });
      expect(await reader.read()).to.deep.include({ memoryUsageBytes: 4096, memoryWorkingSetBytes: 0 });
    });
  });
}
