import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { CgroupV1 } from '../../agent/cgroup/v1.js';
import { CgroupV2 } from '../../agent/cgroup/v2.js';
import { parseNetworkUsage } from '../../agent/network/interface.js';

const V2 = {
  'memory.current': '50331648\n',
  'memory.max': '268435456\n',
  'memory.stat': 'anon 8400896\nfile 41943040\ninactive_file 31457280\nactive_file 10485760\n',
  'cpu.stat': 'usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n',
  'pids.current': '12\n',
};

const V1 = {
  'memory/memory.usage_in_bytes': '50331648\n',
  'memory/memory.limit_in_bytes': '268435456\n',
  'memory/memory.stat': 'inactive_file 0\ntotal_inactive_file 31457280\n',
  'cpuacct/cpuacct.usage': '1234567891\n',
  'pids/pids.current': '12\n',
};

const USAGE = {
  memoryBytes: 50331648,
  memoryWorkingSetBytes: 18874368,
  memoryLimitBytes: 268435456,
  cpuUsageUsec: 1234567,
  pids: 12,
};
const NOTHING = { memoryBytes: 0, memoryWorkingSetBytes: 0, memoryLimitBytes: 0, cpuUsageUsec: 0, pids: 0 };

describe('cgroup readers', () => {
  let root: string;
  const record = async (files: Record<string, string>): Promise<void> => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), text);
    }
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'nexus-cgroup-'));
  });
  afterEach(async () => {
    await rm(root, { recursive: true, force: true });
  });

  it('read the same figures from both layouts', async () => {
    await record({ ...V2, ...V1 });
    expect(await new CgroupV2(root).read()).to.deep.equal(USAGE);
    expect(await new CgroupV1(root).read()).to.deep.equal(USAGE);
  });

  it('tell no limit as 0', async () => {
    await record({ 'memory.max': 'max\n', 'memory/memory.limit_in_bytes': '9223372036854771712\n' });
    expect((await new CgroupV2(root).read()).memoryLimitBytes).to.equal(0);
    expect((await new CgroupV1(root).read()).memoryLimitBytes).to.equal(0);
  });

  it('tell what is missing as 0', async () => {
    expect(await new CgroupV2(root).read()).to.deep.equal(NOTHING);
    expect(await new CgroupV1(root).read()).to.deep.equal(NOTHING);
  });
});

describe('network counters', () => {
  const table = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0',
    '  eth0: 7654321    5000    0    0    0     0          0         0  1234567    4000    0    0    0     0       0          0',
    '',
  ].join('\n');

  it('are those of the interface asked for', () => {
    expect(parseNetworkUsage('eth0', table)).to.deep.equal({ receivedBytes: 7654321, sentBytes: 1234567 });
    expect(parseNetworkUsage('eth', table)).to.deep.equal({ receivedBytes: 0, sentBytes: 0 });
  });
});
