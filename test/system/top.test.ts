/** `nexus top` over nodes under load: its text, and the terminal, which is as before whatever ends it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually, PROJECT } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';
import { onTerminal, type OnTerminal } from '../support/pty.js';

const CLI = join(PROJECT, 'dist', 'cli', 'main.js');

/** Holds so much memory and uses such a part of a core. */
const load = (megabytes: number, part: number): string => `
import time
held = bytearray(${megabytes} * 1024 * 1024)
for at in range(0, len(held), 4096): held[at] = 1
start = time.monotonic()
print('ready', flush=True)
while True:
    while time.process_time() < (time.monotonic() - start) * ${part}: pass
    time.sleep(0.02)
`;

/** By name: the one with the most memory has the least of a core. */
const LOADS: Readonly<Record<string, string>> = { a: load(30, 0.4), b: load(75, 0.2), c: load(120, 0.1) };

describeWithCluster('nexus top over nodes under load', {}, (cluster) => {
  const running: ChildProcess[] = [];

  before(async () => {
    for (const [name, program] of Object.entries(LOADS)) {
      await cluster().ok('node', 'create', name, '--storage', '64M', '--mem', '256M');
      const child = spawn(process.execPath, [CLI, 'node', 'exec', name, '--', 'python3', '-c', program], {
        env: cluster().env,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      running.push(child);
      await new Promise((resolve) => child.stdout.once('data', resolve));
    }
  });
  after(async () => {
    for (const child of running) {
      child.kill('SIGINT');
      if (child.exitCode === null) await new Promise((resolve) => child.once('close', resolve));
    }
  });

  const order = (text: string): string[] => [...text.matchAll(/^([abc]) +Running/gm)].map(([, name]) => name ?? '');

  it('prints a table once where there is no terminal, sorted by what was asked for', async () => {
    const text = await eventually(
      () => cluster().ok('top'),
      (seen) => order(seen).length === 3 && !/Running +(0\.0|-) /.test(seen),
    );
    const shown = [...text.matchAll(/^[abc] +Running +([\d.]+) /gm)].map(([, cpu]) => Number(cpu));
    expect(shown, text).to.deep.equal([...shown].sort((one, other) => other - one));
    expect(text).to.match(/^NAME +STATUS +CPU% +MEM /);
    expect(text).not.to.include('\u001b');
    // A node's last report may be of before its program took its memory.
    await eventually(
      async () => order(await cluster().ok('top', '--once', '--sort', 'mem')),
      (seen) => seen.join('') === 'cba',
    );
    expect(order(await cluster().ok('top', '--once', '--sort', 'name'))).to.deep.equal(['a', 'b', 'c']);
    const rows = await cluster().json<{ name: string; metrics: { cpu_percent: number } }[]>('top');
    const percents = rows.map(({ metrics }) => metrics.cpu_percent);
    expect(percents).to.deep.equal([...percents].sort((one, other) => other - one));
  });

  /** A shell that compares the terminal's modes before and after. */
  function open(): OnTerminal {
    const script =
      'before=$(stty -g); "$0" "$1" top; code=$?; [ "$before" = "$(stty -g)" ] && echo as before, code $code';
    const env = { ...cluster().env, TERM: 'xterm' };
    return onTerminal('sh', ['-c', script, process.execPath, CLI], { cols: 100, rows: 20, env });
  }

  const full = (text: string): boolean => ['a', 'b', 'c'].every((name) => new RegExp(`\\n${name} +Running`).test(text));

  const endings: readonly (readonly [what: string, code: number, end: (session: OnTerminal) => void])[] = [
    [
      'q',
      0,
      ({ terminal }) => {
        terminal.write('q');
      },
    ],
    [
      'Ctrl-C',
      130,
      ({ terminal }) => {
        terminal.write('\u0003');
      },
    ],
    [
      'SIGTERM',
      143,
      ({ terminal }) => {
        process.kill(childOf(terminal.pid), 'SIGTERM');
      },
    ],
  ];
  for (const [what, code, end] of endings) {
    it(`fills a terminal, sorts by keys, and gives it back as it was on ${what}`, async () => {
      const session = open();
      await eventually(session.seen, full);
      session.terminal.write('m');
      await eventually(session.seen, (text) => text.includes('3 nodes, 3 running, by mem'));
      end(session);
      await session.ended;
      const text = session.seen();
      expect(text.startsWith('\u001b[?1049h\u001b[?25l')).to.equal(true);
      expect(text).to.include('\u001b[?25h\u001b[?1049l');
      expect(text.trimEnd().endsWith(`as before, code ${code}`), JSON.stringify(text.slice(-200))).to.equal(true);
    });
  }
});

/** Of the shell, while it waits for its command. */
const childOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
