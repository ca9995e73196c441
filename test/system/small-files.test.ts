/** Folders of many small files: stored by packs, and by themselves where a pack meets anything unusual. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

const FILES = 300;
const LARGE_BYTES = 300 * 1024;

interface Where {
  readonly chunks: readonly { readonly replicas: readonly { readonly node: string; readonly state: string }[] }[];
}

describeWithCluster('a folder of small files', {}, (cluster) => {
  let source = '';

  before(async () => {
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--mem', '128', '--storage', '256M');
    source = join(cluster().folder, 'source');
    for (let at = 0; at < FILES; at += 1) {
      const folder = join(source, `d${at % 7}`);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `f${at}`), randomBytes(at % 10 === 0 ? 0 : 1 + at * 11));
    }
    writeFileSync(join(source, 'large'), randomBytes(LARGE_BYTES));
  });

  let looks = 0;
  const expectWhole = async (path: string): Promise<void> => {
    const back = join(cluster().folder, `back-${(looks += 1)}`);
    await cluster().ok('fs', 'download', path, back);
    execFileSync('diff', ['-r', source, back]);
  };

  const eventsOf = async (type: string): Promise<{ type: string; subject: string; message: string }[]> => {
    const all = await cluster().json<{ type: string; subject: string; message: string }[]>('events');
    return all.filter((event) => event.type === type);
  };

  it('is stored whole, each file with its copies, on all nodes alike, and told of by few events', async () => {
    await cluster().ok('fs', 'upload', source, '/first', '-r', '2');
    await expectWhole('/first');
    const shares = new Map<string, number>();
    const entries = await cluster().json<{ file_id: string; type: string }[]>('fs', 'ls', '/first/d1');
    for (const { file_id: id } of entries) {
      const { chunks } = await cluster().json<Where>('file', 'where', id);
      for (const { replicas } of chunks) {
        expect(replicas.map(({ state }) => state)).to.deep.equal(['ready', 'ready']);
        for (const { node } of replicas) shares.set(node, (shares.get(node) ?? 0) + 1);
      }
    }
    expect([...shares.keys()]).to.have.members(['a', 'b', 'c']);
    const stored = await eventsOf('fs.stored');
    expect(stored.length).to.be.within(1, 5);
    expect(new Set(stored.map(({ subject }) => subject))).to.deep.equal(new Set(['/first']));
    expect((await eventsOf('file.committed')).length).to.equal(1);
  });

  it('is refused file by file where names are taken, and replaces them where that is asked for', async () => {
    await cluster().ok('fs', 'rm', '/first/d1/f1');
    const { code, stderr } = await cluster().run('fs', 'upload', join(source, 'd1'), '/first');
    expect(code).to.equal(4);
    expect(stderr).to.include('there is a file /first/d1/f8 already');
    await expectWhole('/first');
    await cluster().ok('fs', 'upload', join(source, 'd1'), '/first', '--overwrite');
    await expectWhole('/first');
    const quota = await cluster().json<{ used: number; recounted_used: number }>('fs', 'quota', '--recount');
    expect(quota.recounted_used).to.equal(quota.used);
  });

  it('is stored although an agent takes nothing', async () => {
    const nodes = await cluster().json<NodeJson[]>('node', 'ls');
    const agent = childOf(nodes.find(({ name }) => name === 'b')?.pid ?? 0);
    process.kill(agent, 'SIGSTOP');
    try {
      await cluster().ok('fs', 'upload', source, '/second');
    } finally {
      process.kill(agent, 'SIGCONT');
    }
    await expectWhole('/second');
  });
});

/** The agent: only child of the node's first process. */
const childOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
