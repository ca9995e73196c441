/** What is written for a sandbox's cgroup on each layout; on a folder, for this machine's kernel has only one of them. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { SandboxCgroups } from '../../controller/lambda/sandbox/cgroup.js';
import { MIB } from '../../shared/limits.js';

const LIMITS = { memoryBytes: 64 * MIB, pids: 64, cpuPercent: 100 };

describe('the cgroup of a sandbox', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'nexus-lambda-cgroup-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });

  const node = (...hierarchies: readonly string[]): void => {
    for (const hierarchy of hierarchies) mkdirSync(join(root, hierarchy, 'nexus', 'n'), { recursive: true });
  };
  const text = (path: string): string => readFileSync(join(root, path), 'utf8');

  it('is one folder on v2, below a node that hands its controllers on', async () => {
    node('');
    const cgroups = new SandboxCgroups('v2', '/nexus', root);
    await cgroups.make('n', 'lambda-1-1', LIMITS);
    expect(text('nexus/n/cgroup.subtree_control')).to.equal('+memory +pids +cpu');
    const own = 'nexus/n/lambda-1-1';
    expect(text(`${own}/memory.max`)).to.equal(String(64 * MIB));
    expect(text(`${own}/memory.swap.max`)).to.equal('0');
    expect(text(`${own}/memory.oom.group`)).to.equal('1');
    expect(text(`${own}/pids.max`)).to.equal('64');
    expect(text(`${own}/cpu.max`)).to.equal('100000 100000');
    expect(cgroups.entrances('n', 'lambda-1-1')).to.deep.equal([`${own}/cgroup.procs`]);
    writeFileSync(join(root, own, 'memory.peak'), '4096\n');
    writeFileSync(join(root, own, 'memory.events'), 'low 0\noom 1\noom_kill 2\noom_group_kill 1\n');
    expect(await cgroups.usage('n', 'lambda-1-1')).to.deep.equal({ peakMemoryBytes: 4096, outOfMemory: 'limit' });
    writeFileSync(join(root, own, 'memory.events'), 'low 0\noom 0\noom_kill 1\n');
    expect(await cgroups.usage('n', 'lambda-1-1'), 'killed for its parent').to.include({ outOfMemory: 'node' });
    expect(await cgroups.list('n')).to.deep.equal(['lambda-1-1']);
  });

  it('is one folder in each hierarchy on v1', async () => {
    node('memory', 'cpu', 'cpuacct', 'pids');
    const cgroups = new SandboxCgroups('v1', '/nexus', root);
    await cgroups.make('n', 'lambda-1-1', LIMITS);
    const own = 'nexus/n/lambda-1-1';
    expect(text(`memory/${own}/memory.limit_in_bytes`)).to.equal(String(64 * MIB));
    expect(text(`memory/${own}/memory.memsw.limit_in_bytes`)).to.equal(String(64 * MIB));
    expect(text(`pids/${own}/pids.max`)).to.equal('64');
    expect(text(`cpu/${own}/cpu.cfs_quota_us`)).to.equal('100000');
    expect(cgroups.entrances('n', 'lambda-1-1')).to.deep.equal(
      ['memory', 'cpu', 'cpuacct', 'pids'].map((hierarchy) => `${hierarchy}/${own}/tasks`),
    );
    writeFileSync(join(root, 'memory', own, 'memory.max_usage_in_bytes'), '8192\n');
    writeFileSync(join(root, 'memory', own, 'memory.oom_control'), 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n');
    expect(await cgroups.usage('n', 'lambda-1-1')).to.deep.equal({ peakMemoryBytes: 8192, outOfMemory: 'node' });
    writeFileSync(join(root, 'memory', own, 'memory.max_usage_in_bytes'), String(64 * MIB - 4096));
    expect(await cgroups.usage('n', 'lambda-1-1'), 'killed at its own limit').to.include({ outOfMemory: 'limit' });
  });

  it('tells what a node uses besides its sandboxes', async () => {
    for (const [layout, files] of [
      ['v1', ['memory.usage_in_bytes', 'total_inactive_file', 'total_active_file']],
      ['v2', ['memory.current', 'inactive_file', 'active_file']],
    ] as const) {
      const memory = join(root, layout, layout === 'v1' ? 'memory' : '', 'nexus', 'n');
      for (const [name, used] of Object.entries({ agent: 5000, 'exec-1': 3000, 'lambda-1-1': 90_000 })) {
        mkdirSync(join(memory, name), { recursive: true });
        writeFileSync(join(memory, name, files[0]), `${used}\n`);
        writeFileSync(join(memory, name, 'memory.stat'), `anon 1\n${files[1]} 600\n${files[2]} 400\n`);
      }
      const cgroups = new SandboxCgroups(layout, '/nexus', join(root, layout));
      expect(await cgroups.besides('n'), layout).to.equal(6000);
      expect(await cgroups.besides('none'), layout).to.equal(undefined);
    }
  });
});
