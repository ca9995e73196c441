/** `exec -it` as a person uses it: the CLI inside a real pseudo terminal. */
import { expect } from 'chai';
import { spawn } from 'node-pty';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
