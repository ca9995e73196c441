/** `exec -it` as a person uses it: the CLI inside a real pseudo terminal. */
import { expect } from 'chai';
import { spawn } from 'node-pty';
import { spawn as spawnChild } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually, PROJECT } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';
import { onTerminal, type OnTerminal } from '../support/pty.js';

describeWithCluster('a terminal in a node', {}, (cluster) => {
  before(async () => {
    await cluster().ok('node', 'create', 'term', '--storage', '64M');
  });

  const open = (): OnTerminal => {
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'node', 'exec', '-it', 'term', '--', 'sh'];
    const env = { ...cluster().env, TERM: 'xterm' };
    return onTerminal(process.execPath, args, { cols: 91, rows: 31, env });
  };

  it('has the size of the outer one, follows its changes, and ends with the exit code', async () => {
    const { terminal, seen, ended } = open();
    terminal.write('stty size\r');
    await eventually(seen, (text) => /31 91/.test(text));
    terminal.resize(100, 40);
    await eventually(
      () => {
        terminal.write('stty size\r');
        return seen();
      },
      (text) => /40 100/.test(text),
    );
    terminal.write('exit 9\r');
    expect(await ended).to.equal(9);
  });

  it('passes Ctrl-C to the command and not to the CLI', async () => {
    const { terminal, seen, ended } = open();
    terminal.write('echo rea""dy; sleep 100\r');
    await eventually(seen, (text) => /\nready/.test(text));
    terminal.write('\x03');
    terminal.write('echo code $?\r');
    await eventually(seen, (text) => /code 130/.test(text));
    terminal.write('exit\r');
    await ended;
  });

  it('a command that ignores every signal ends by the second one, and leaves nothing in the node', async () => {
    const script = 'trap "" INT TERM; echo on; while :; do sleep 4323; done';
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'node', 'exec', 'term', '--', 'sh', '-c', script];
    const child = spawnChild(process.execPath, args, { env: cluster().env, stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = once(child, 'exit') as Promise<unknown[]>;
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    const [words] = (await once(child.stderr, 'data')) as [Buffer];
    expect(words.toString()).to.equal('nexus: the command got SIGINT and goes on; a second signal ends it\n');
    child.kill('SIGINT');
    expect(await ended).to.deep.equal([null, 'SIGINT']);
    await eventually(
      () => cluster().ok('node', 'exec', 'term', '--', 'ps'),
      (processes) => !processes.includes('4323'),
    );
  });

  it('what follows ends when nobody reads it any more, though nothing happens', async () => {
    const nexus = `${process.execPath} ${join(PROJECT, 'dist', 'cli', 'main.js')}`;
    for (const words of ['node logs -f term', 'events -f', 'metrics -f term']) {
      const script = `${nexus} ${words} | head -n 1 >/dev/null; echo "\${PIPESTATUS[0]}"`;
      const child = spawnChild('bash', ['-c', script], { env: cluster().env, stdio: ['ignore', 'pipe', 'inherit'] });
      expect(await text(child.stdout), words).to.equal('141\n');
    }
  });

  it('dies with the caller: nothing of the command is left in the node', async () => {
    const { terminal, seen, ended } = open();
    terminal.write('sleep 4321 & echo rea""dy; sleep 4321\r');
    await eventually(seen, (text) => /\nready/.test(text));
    terminal.kill('SIGKILL');
    await ended;
    const ps = (): Promise<string> => cluster().ok('node', 'exec', 'term', '--', 'ps');
    await eventually(ps, (text) => !text.includes('4321'));
  });
});

describeWithCluster('a transfer on a terminal', {}, (cluster) => {
  it('shows its progress and succeeds', async () => {
    await cluster().ok('node', 'create', 'term', '--storage', '128M');
    const source = join(cluster().folder, 'source');
    writeFileSync(source, randomBytes(12 * 1024 * 1024));
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'file', 'upload', source];
    const terminal = spawn(process.execPath, args, { cols: 120, rows: 30, env: { ...cluster().env, TERM: 'xterm' } });
    let output = '';
    terminal.onData((data) => {
      output += data;
    });
    const code = await new Promise((resolve) => {
      terminal.onExit(({ exitCode }) => {
        resolve(exitCode);
      });
    });
    expect(code, output).to.equal(0);
    expect(output).to.match(/upload source.*12 MB/s);
  });
});
