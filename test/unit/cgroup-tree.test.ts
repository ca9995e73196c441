/** A node's cgroups as files, on a folder that stands in for the kernel's. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { CgroupTree } from '../../controller/hosting/contained/cgroup.js';

describe('cgroups of a node', () => {
  let root: string;
  const write = (path: string, text: string): void => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const tree = (layout: 'v1' | 'v2'): CgroupTree => new CgroupTree(layout, '/nexus', root);

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'nexus-cgroup-'));
  });
  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
  });

  it('a command that was killed for want of memory is not the end of the agent, on v2', async () => {
    write('nexus/n1/memory.events', 'oom 3\noom_kill 2\n');
    write('nexus/n1/agent/memory.events', 'oom 0\noom_kill 0\n');
    expect(await tree('v2').oomKills('n1', 'agent')).to.equal(0);
    write('nexus/n1/agent/memory.events', 'oom 1\noom_kill 1\n');
    expect(await tree('v2').oomKills('n1', 'agent')).to.equal(1);
  });

  it('counts what the whole node has lost where children are not told apart', async () => {
    write('nexus/n1/memory.events', 'oom 3\noom_kill 2\n');
    expect(await tree('v2').oomKills('n1', 'agent')).to.equal(2);
  });

  it('counts in the parent and in the child on v1, and in no other child', async () => {
    write('memory/nexus/n1/memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n');
    write('memory/nexus/n1/agent/memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n');
    write('memory/nexus/n1/exec-1/memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 5\n');
    expect(await tree('v1').oomKills('n1', 'agent')).to.equal(2);
  });

  it('has lost nothing when it is gone', async () => {
    for (const layout of ['v1', 'v2'] as const) expect(await tree(layout).oomKills('n1', 'agent')).to.equal(0);
  });

  it('has the memory of children told apart on v2, where that must be asked for', async () => {
    write('nexus/n1/cgroup.subtree_control', '');
    await tree('v2').countMemoryByChild('n1');
    expect(readFileSync(join(root, 'nexus/n1/cgroup.subtree_control'), 'utf8')).to.equal('+memory');
    await tree('v1').countMemoryByChild('absent');
  });
});
