/** Figures of real nodes: a process with known needs, reports that stop and begin again, and `nexus top` on a terminal. */
import { spawn as spawnProcess } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { spawn } from 'node-pty';
import { MIB } from '../../shared/limits.js';
import { eventually, PROJECT } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface MetricsJson {
  readonly node: string;
  readonly at: string;
  readonly cpu_percent: number;
  readonly memory_working_set: number;
  readonly memory_usage: number;
  readonly memory_limit: number;
  readonly volume_total: number;
  readonly pids: number;
}

/** Holds 100 MB and uses half a core, whatever else runs: it works until it has had half of the time that went by. */
const BURNER = `
import time
held = bytearray(100 * 1024 * 1024)
for at in range(0, len(held), 4096): held[at] = 1
start = time.monotonic()
print('ready', flush=True)
while True:
    while time.process_time() < (time.monotonic() - start) / 2: pass
    time.sleep(0.02)
`;

describeWithCluster('metrics of real nodes', {}, (cluster) => {
  before(async () => {
    for (const name of ['a', 'b', 'c']) await cluster().ok('node', 'create', name, '--storage', '64M', '--mem', '256M');
  });

  const latest = (name: string): Promise<MetricsJson> => cluster().json<MetricsJson>('metrics', name);

  it('show what a process uses that burns half a core and holds 100 MB', async () => {
    const before = await eventually(
      () => cluster().run('metrics', 'a', '-o', 'json'),
      ({ code }) => code === 0,
    );
    const idle = JSON.parse(before.stdout) as MetricsJson;
    expect(idle.memory_limit).to.equal(256 * MIB);
    const cli = join(PROJECT, 'dist', 'cli', 'main.js');
    const burner = spawnProcess(process.execPath, [cli, 'node', 'exec', 'a', '--', 'python3', '-c', BURNER], {
      env: cluster().env,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      await new Promise((resolve) => burner.stdout.once('data', resolve));
      const seen = await eventually(
        () => latest('a'),
        ({ cpu_percent: cpu, memory_working_set: memory }) =>
          cpu > 40 && cpu < 60 && memory > idle.memory_working_set + 95 * MIB,
        40_000,
      );
      expect(seen.memory_working_set).to.be.lessThan(idle.memory_working_set + 130 * MIB);
      const rows = await cluster().json<{ name: string; metrics: MetricsJson }[]>('top', '--once');
      expect(rows.map(({ name }) => name)[0]).to.equal('a');
      const history = await cluster().json<MetricsJson[]>('metrics', 'a', '--since', '10m');
      expect(history.length).to.be.greaterThan(1);
      expect(history.map(({ at }) => at)).to.deep.equal(history.map(({ at }) => at).sort());
    } finally {
      burner.kill('SIGINT');
      await new Promise((resolve) => burner.once('close', resolve));
    }
  });

  it('are refused for a node that is down, and right again after it has come back', async () => {
    await cluster().ok('node', 'stop', 'b');
    expect(await cluster().run('metrics', 'b')).to.include({ code: 4 });
    await cluster().ok('node', 'start', 'b');
    const back = await eventually(
      () => cluster().run('metrics', 'b', '-o', 'json'),
      ({ code }) => code === 0,
    );
    const { cpu_percent: cpu } = JSON.parse(back.stdout) as MetricsJson;
    expect(cpu).to.be.within(0, 200);
    expect(await cluster().run('metrics', 'none')).to.include({ code: 3 });
  });

  it('fill the terminal of nexus top, which is as before when it ends', async () => {
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'top'];
    const env = { ...cluster().env, TERM: 'xterm' };
    const terminal = spawn(process.execPath, args, { cols: 100, rows: 20, env });
    let output = '';
    terminal.onData((data) => {
      output += data;
    });
    const ended = new Promise<number>((resolve) => {
      terminal.onExit(({ exitCode }) => {
        resolve(exitCode);
      });
    });
    await eventually(
      () => output,
      (text) => ['a', 'b', 'c'].every((name) => new RegExp(`\\n${name} +Running`).test(text)),
    );
    terminal.write('a');
    await eventually(
      () => output,
      (text) => text.includes('3 nodes, 3 running, by name'),
    );
    terminal.write('q');
    expect(await ended).to.equal(0);
    expect(output.startsWith('\u001b[?1049h')).to.equal(true);
    expect(output.trimEnd().endsWith('\u001b[?25h\u001b[?1049l')).to.equal(true);
  });
});
