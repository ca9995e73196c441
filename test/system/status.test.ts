/** `nexus status` as one page over real nodes, one of them killed. */
import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cellsOf } from '../../cli/terminal/text-width.js';
import { eventually, PROJECT, type NodeJson } from '../support/cluster.js';
import { onTerminal } from '../support/pty.js';
import { describeWithCluster } from '../support/system.js';

describeWithCluster('the status of a cluster', {}, (cluster) => {
  it('is one page: what runs, each node, room, redundancy, the last events', async () => {
    expect(await cluster().ok('status')).to.match(/no nodes; create one with: nexus node create/);
    for (const name of ['a', 'b']) await cluster().ok('node', 'create', name, '--storage', '64M');
    const page = await eventually(
      () => cluster().ok('status'),
      (text) => /^b +Running .* 0$/m.test(text),
    );
    expect(page)
      .to.match(/^instance: +/)
      .and.match(/^nodes: +2 \(2 running\)$/m);
    expect(page)
      .to.match(/^room: +[\d.]+ MB free of [\d.]+ MB$/m)
      .and.match(/^redundancy: +all chunks/m);
    expect(page).to.match(/^NODE +STATUS +IP +CPU% +MEM +VOLUME +CHUNKS$/m);
    expect(page).to.match(/^a +Running +10\.\S+ +(-|[\d.]+) +[\d.]+ MB \/ 128 MB +[\d.]+ KB \/ [\d.]+ MB +0$/m);
    expect(page).to.match(/^ *\d+s +node\.running +node b .*$/m);
    expect(page).not.to.include('warning:');
  });

  it('comes from nexus up, too, with the settings that have no effect on a cluster that is up', async () => {
    const file = join(cluster().folder, 'other.yaml');
    const up = async (text: string): Promise<string> => {
      writeFileSync(file, text);
      const { code, stdout, stderr } = await cluster().run('--config', file, 'up');
      expect({ code, stdout }).to.deep.include({ code: 0 });
      expect(stdout).to.match(/^cluster ".*" was up already/);
      return stderr;
    };
    // The controllers of tests have it from a variable of their own.
    expect(await up('log-level: debug\n')).to.equal('');
    expect(await up('log-level: warn\nspare-nodes: 2\n')).to.equal(
      'settings of a cluster that is up stay as they are: log-level is debug, not warn, spare-nodes is 0, not 2; restart the cluster with: nexus down, then nexus up\n',
    );
  });

  it('tells how many sandboxes are prewarmed', async () => {
    // How many there are to be is known once each node has said what it has room for.
    const { lambda } = await eventually(
      () => cluster().json<{ lambda: { pool_ready: number; pool_target: number } }>('status'),
      (seen) => seen.lambda.pool_ready === seen.lambda.pool_target && seen.lambda.pool_target > 0,
    );
    expect(lambda).to.include({ running: 0, queue_length: 0 });
    await eventually(
      () => cluster().ok('status'),
      (text) => /^lambda: +([1-9]\d*) of \1 prewarmed sandboxes, 0 running, 0 waiting$/m.test(text),
    );
  });

  it('warns of a node that was killed, says what to do, and that helps', async () => {
    const { pid } = await cluster().json<NodeJson>('node', 'inspect', 'b');
    expect(pid).to.be.greaterThan(1);
    process.kill(pid, 'SIGKILL');
    const page = await eventually(
      () => cluster().ok('status'),
      (text) => text.includes('warning:'),
    );
    expect(page).to.match(/^warning: node b is Failed: .*; see nexus node logs b, then nexus node start b$/m);
    // What needs a look comes first.
    expect(page.indexOf('\nb  ')).to.be.lessThan(page.indexOf('\na  '));
    await cluster().ok('node', 'start', 'b');
    expect(await cluster().ok('status')).not.to.include('warning:');
  });

  it('has the last events as JSON, too, and nexus events the last that are asked for', async () => {
    const { events } = await cluster().json<{ events: { id: number; type: string }[] }>('status');
    expect(events).to.have.length(5);
    const all = await cluster().json<{ id: number }[]>('events');
    expect(events.map(({ id }) => id)).to.deep.equal(all.slice(-5).map(({ id }) => id));
    const two = await cluster().json<{ id: number }[]>('events', '--last', '2');
    expect(two).to.deep.equal(all.slice(-2));
    expect(await cluster().run('events', '--last', '0')).to.include({ code: 2 });
  });

  it('fits a terminal of 80 columns, and is whole in a pipe', async () => {
    const name = `${'報告書🎉'.repeat(9)}.txt`;
    await cluster().ok('fs', 'mkdir', `/${name}`);
    for (const words of [['status'], ['events'], ['node', 'ls'], ['fs', 'ls'], ['node', 'create', '--help']]) {
      const args = [join(PROJECT, 'dist', 'cli', 'main.js'), ...words];
      const options = { cols: 80, rows: 24, env: { ...cluster().env, TERM: 'xterm' } };
      const { seen, ended } = onTerminal(process.execPath, args, options);
      expect(await ended, seen()).to.equal(0);
      const [wide] = seen()
        .split(/\r?\n/)
        .filter((line) => cellsOf(line) > 80);
      expect(wide, words.join(' ')).to.equal(undefined);
      if (words[0] === 'fs') expect(seen().replace(/\s/g, '')).to.include(`${name}/`);
    }
    expect(await cluster().ok('fs', 'ls')).to.include(`${name}/`);
    expect(await cluster().ok('events')).to.match(/^AT +TYPE +SUBJECT +MESSAGE\n/);
  });
});
