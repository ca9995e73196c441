/** Figures of real nodes: a process with known needs, several cores, page cache, and reports that stop and begin again. */
import { spawn as spawnProcess } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { MIB } from '../../shared/limits.js';
import { eventually, PROJECT } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

interface MetricsJson {
  readonly node: string;
  readonly at: string;
  /** In JSON it is absent from the first report of a node. */
  readonly cpu_percent: number;
  readonly cpu_seconds: number;
  readonly memory_working_set: number;
  readonly memory_usage: number;
  readonly memory_limit: number;
  readonly volume_total: number;
  readonly pids: number;
}

/** Holds 100 MB and uses half a core, as far as the host has that much, and says what it has really had. */
const BURNER = `
import time
held = bytearray(100 * 1024 * 1024)
for at in range(0, len(held), 4096): held[at] = 1
start = time.monotonic()
while True:
    print(time.time(), time.process_time(), flush=True)
    enough = time.process_time() + 0.1
    while time.process_time() < min(enough, (time.monotonic() - start) / 2): pass
    if time.process_time() < enough: time.sleep(0.02)
`;

/** What a burner had had of a processor at a moment: seconds, between the two words of it that lie around the moment. */
function burntAt(words: readonly (readonly [at: number, seconds: number])[], moment: number): number {
  const next = words.findIndex(([at]) => at > moment);
  const [before, after] = [words[next - 1], words[next]];
  if (before === undefined || after === undefined) return Number.NaN;
  return before[1] + ((after[1] - before[1]) * (moment - before[0])) / (after[0] - before[0]);
}

/** Three processes of half a core each, for 12 s; says what they have really had. */
const THREE_BURNERS = `
import json, os, time
start = time.monotonic()
def burn():
    while time.monotonic() - start < 12:
        while time.process_time() < (time.monotonic() - start) / 2 and time.monotonic() - start < 12: pass
        time.sleep(0.02)
    os._exit(0)
for _ in range(3):
    if os.fork() == 0: burn()
for _ in range(3): os.wait()
used = os.times()
print(json.dumps({'cpu_seconds': used.children_user + used.children_system, 'wall_seconds': time.monotonic() - start}))
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
    let said = '';
    burner.stdout.on('data', (data: Buffer) => {
      said += data.toString('utf8');
    });
    /** Of reports, how far each is from what the burner itself had in that time; percent of a core. */
    const differences = (history: readonly MetricsJson[]): number[] => {
      const words = said
        .split('\n')
        .slice(0, -1)
        .map((line) => line.split(' ').map(Number) as [number, number]);
      return history.slice(1).flatMap(({ at, cpu_percent: cpu }, index) => {
        const [from, to] = [Date.parse(history[index]?.at ?? at) / 1000, Date.parse(at) / 1000];
        const own = (burntAt(words, to) - burntAt(words, from)) / (to - from);
        return Number.isNaN(own) ? [] : [cpu - own * 100];
      });
    };
    try {
      await eventually(
        () => said,
        (text) => text !== '',
      );
      const apart = await eventually(
        async () => differences(await cluster().json<MetricsJson[]>('metrics', 'a', '--since', '1m')),
        (found) => found.length >= 3,
        60_000,
      );
      // What is not the burner's is the agent's, and its own process in the node that waits for it.
      for (const difference of apart) expect(difference, String(apart)).to.be.within(-5, 15);
      const seen = await latest('a');
      expect(seen.memory_working_set).to.be.greaterThan(idle.memory_working_set + 95 * MIB);
      expect(seen.memory_working_set).to.be.lessThan(idle.memory_working_set + 130 * MIB);
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

  it('count several cores as more than one, as the processes themselves do', async () => {
    const before = await latest('c');
    const said = await cluster().ok('node', 'exec', 'c', '--', 'python3', '-c', THREE_BURNERS);
    const { cpu_seconds: burnt, wall_seconds: wall } = JSON.parse(said) as {
      cpu_seconds: number;
      wall_seconds: number;
    };
    const after = await eventually(
      () => latest('c'),
      ({ cpu_seconds: seen }) => seen - before.cpu_seconds >= burnt,
    );
    // What was not theirs: the agent, and their own interpreters before they looked at a clock.
    expect(after.cpu_seconds - before.cpu_seconds).to.be.lessThan(burnt * 1.1 + 2);
    const history = await cluster().json<MetricsJson[]>('metrics', 'c', '--since', '1m');
    const most = Math.max(...history.slice(1).map(({ cpu_percent: cpu }) => cpu));
    expect(most).to.be.greaterThan((burnt / wall) * 100 * 0.8);
    for (const [at, sample] of history.slice(1).entries()) {
      const last = history[at] ?? sample;
      const seconds = (Date.parse(sample.at) - Date.parse(last.at)) / 1000;
      expect(sample.cpu_percent).to.be.closeTo(((sample.cpu_seconds - last.cpu_seconds) / seconds) * 100, 0.5);
    }
  });

  it('count page cache as usage and not as working set', async () => {
    await cluster().ok('node', 'create', 'cache', '--storage', '128M', '--mem', '256M');
    const before = await eventually(
      () => cluster().run('metrics', 'cache', '-o', 'json'),
      ({ code }) => code === 0,
    );
    const empty = JSON.parse(before.stdout) as MetricsJson;
    await cluster().ok('node', 'exec', 'cache', '--', 'dd', 'if=/dev/zero', 'of=/data/filler', 'bs=1M', 'count=60');
    const full = await eventually(
      () => latest('cache'),
      ({ memory_usage: usage }) => usage > empty.memory_usage + 50 * MIB,
    );
    expect(full.memory_working_set).to.be.lessThan(empty.memory_working_set + 25 * MIB);
    expect(full.memory_usage).to.be.at.most(full.memory_limit);
    await cluster().ok('node', 'rm', 'cache');
  });
});
