import { expect } from 'chai';
import { FakeCgroup } from '../fakes/cgroup.js';
import { readUsage, reportOf, type UsageSources } from '../../agent/report.js';
import { FakeVolume } from '../fakes/agent-volume.js';
import { NexusError } from '../../shared/errors.js';
import { AgentReport } from '../../shared/gen/nexus/v1/agent.js';
import { codeOf } from '../support/codes.js';

describe("an agent's report", () => {
  const cgroup = new FakeCgroup();
  const volume = new FakeVolume('/data', 1000);
  const sources: UsageSources = {
    cgroup,
    volume,
    networkInterface: '',
    chunkCounters: () => ({ chunks: 3, bytes: 250, reads: 5, writes: 4, checksumFailures: 1 }),
    logLinesDropped: () => 7,
    now: () => 1_795_507_200_123,
  };

  it('carries every figure, also those beyond 32 bits', async () => {
    cgroup.usage = {
      memoryUsageBytes: 2 ** 40,
      memoryWorkingSetBytes: 2 ** 39,
      memoryLimitBytes: 2 ** 41,
      cpuUsageUsec: 2 ** 50,
      pids: 12,
    };
    volume.usedBytes = 300;
    expect(AgentReport.decode(AgentReport.encode(reportOf(await readUsage(sources))).finish())).to.deep.equal(
      AgentReport.fromPartial({
        atMs: 1_795_507_200_123n,
        memoryUsageBytes: 2n ** 40n,
        memoryWorkingSetBytes: 2n ** 39n,
        memoryLimitBytes: 2n ** 41n,
        cpuUsageUsec: 2n ** 50n,
        pids: 12n,
        volumeTotalBytes: 1000n,
        volumeUsedBytes: 300n,
        volumeFreeBytes: 700n,
        chunks: 3n,
        chunkBytes: 250n,
        chunkReads: 5n,
        chunkWrites: 4n,
        checksumFailures: 1n,
        volumeState: 'ok',
        volumeInodes: 1000n,
        volumeFreeInodes: 1000n,
        logLinesDropped: 7n,
      }),
    );
  });

  it('fails when the volume does, and is there again with it', async () => {
    volume.script.failNext('volume.usage', 1, new NexusError('not_found', 'the volume is gone'));
    expect(await codeOf(() => readUsage(sources))).to.equal('not_found');
    expect((await readUsage(sources)).figures.volumeTotalBytes).to.equal(1000);
  });
});
