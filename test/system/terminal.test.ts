/** `exec -it` as a person uses it: the CLI inside a real pseudo terminal. */
import { expect } from 'chai';
import { spawn } from 'node-pty';
import { spawn as spawnChild, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { eventually, PROJECT, type NodeJson } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';
import { onTerminal, type OnTerminal } from '../support/pty.js';

describeWithCluster('a terminal in a node', {}, (cluster) => {
  before(async () => {
    await cluster().ok('node', 'create', 'term', '--storage', '64M');
  });

  const open = (...command: string[]): OnTerminal => {
    const words = command.length > 0 ? command : ['sh'];
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'node', 'exec', '-it', 'term', '--', ...words];
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
    expect(words.toString()).to.equal(
      'nexus: the command received SIGINT and is still running; a second signal ends it\n',
    );
    child.kill('SIGINT');
    expect(await ended).to.deep.equal([null, 'SIGINT']);
    await eventually(
      () => cluster().ok('node', 'exec', 'term', '--', 'ps'),
      (processes) => !processes.includes('4323'),
    );
  });

  it('is refused with what is short while programs of the node hold all, and there again after them', async () => {
    const hold = [
      'import os, time',
      'held = []',
      'try:',
      '  while True: held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))',
      'except OSError as error: print(len(held), error.strerror, flush=True)',
      'time.sleep(600)',
    ];
    const args = [
      join(PROJECT, 'dist', 'cli', 'main.js'),
      'node',
      'exec',
      'term',
      '--',
      'python3',
      '-c',
      hold.join('\n'),
    ];
    const holder = spawnChild(process.execPath, args, { env: cluster().env, stdio: ['ignore', 'pipe', 'inherit'] });
    const [words] = (await once(holder.stdout, 'data')) as [Buffer];
    expect(words.toString()).to.equal('256 No space left on device\n');
    const refused = open();
    expect(await refused.ended).to.equal(126);
    expect(refused.seen()).to.match(/^nexus: sh gets no terminal in the node: its programs hold all 256 [^\r\n]*\r\n$/);
    const ended = once(holder, 'exit');
    holder.kill('SIGTERM');
    await ended;
    const { terminal, ended: left } = open();
    terminal.write('exit 3\r');
    expect(await left).to.equal(3);
  });

  it('runs the program that the node has by the name, and no other of the same name', async () => {
    const own = `printf '#!/bin/sh\\necho "own, $0, $*"\\n' > /usr/local/bin/uname; chmod +x /usr/local/bin/uname`;
    await cluster().ok('node', 'exec', 'term', '--', 'sh', '-c', own);
    const { seen, ended } = open('uname', '-a', 'two words');
    expect(await ended).to.equal(0);
    expect(seen()).to.equal('own, /usr/local/bin/uname, -a two words\r\n');
    await cluster().ok('node', 'exec', 'term', '--', 'rm', '/usr/local/bin/uname');
    // A word of the shell alone, which finds no program for it.
    const absent = open('cd');
    expect(await absent.ended).to.equal(127);
    expect(absent.seen()).to.equal('nexus: there is no program cd in the node\r\n');
  });

  it('ends lines once, and stty in the node has its effect', async () => {
    const { terminal, seen, ended } = open();
    terminal.write('echo be""gin; echo one; stty -onlcr; echo two; echo en""d; stty onlcr\r');
    await eventually(seen, (text) => text.includes('end\n'));
    expect(seen().slice(seen().lastIndexOf('begin'))).to.match(/^begin\r\none\r\ntwo\nend\n/);
    terminal.write('exit\r');
    expect(await ended).to.equal(0);
    expect(seen()).to.not.include('\r\r\n');
  });

  it('gives the outer terminal back as it was, whatever the end', async () => {
    const nexus = `${process.execPath} ${join(PROJECT, 'dist', 'cli', 'main.js')} node exec -it term --`;
    const ends = [
      [`exit 3`, 3],
      // By the second signal, while the command takes no notice of the first.
      [`trap '' TERM; echo up; while :; do sleep 4325; done`, 143],
    ] as const;
    for (const [line, code] of ends) {
      const script = `stty -ixon tab3; stty -g; (echo "pid $BASHPID"; exec ${nexus} sh -c "${line}"); echo "code $?"; stty -g`;
      const shell = onTerminal('bash', ['--norc', '-c', script], { env: { ...cluster().env, TERM: 'xterm' } });
      if (code === 143) {
        await eventually(shell.seen, (text) => /up\r\n/.test(text));
        const pid = Number(/pid (\d+)/.exec(shell.seen())?.[1]);
        process.kill(pid, 'SIGTERM');
        await eventually(shell.seen, (text) => text.includes('is still running; a second signal ends it\r\n'));
        process.kill(pid, 'SIGTERM');
      }
      await shell.ended;
      expect(shell.seen()).to.include(`code ${code}`);
      const [before, after, ...more] = shell.seen().match(/^[0-9a-f]+(:[0-9a-f]+){10,}(?=\r\n)/gm) ?? [];
      expect(more).to.deep.equal([]);
      expect(after).to.be.a('string').and.equal(before);
    }
    await eventually(
      () => cluster().ok('node', 'exec', 'term', '--', 'ps'),
      (processes) => !processes.includes('4325'),
    );
  });

  it('a command ends when its process does, and what it leaves running is the node’s', async () => {
    const left = await cluster().run('node', 'exec', 'term', '--', 'sh', '-c', 'sleep 4326 & echo hi; exit 6');
    expect(left).to.deep.equal({ code: 6, stdout: 'hi\n', stderr: '' });
    await cluster().killController();
    await cluster().startController();
    expect(await cluster().ok('node', 'exec', 'term', '--', 'ps')).to.include('sleep 4326');
    await cluster().ok('node', 'restart', 'term');
    expect(await cluster().ok('node', 'exec', 'term', '--', 'ps')).to.not.include('sleep 4326');
  });

  it('a command that has stopped itself ends by the first signal, with what it started', async () => {
    const script = 'sleep 4327 & echo on; kill -STOP $$';
    const args = [join(PROJECT, 'dist', 'cli', 'main.js'), 'node', 'exec', 'term', '--', 'sh', '-c', script];
    const child = spawnChild(process.execPath, args, { env: cluster().env, stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit') as Promise<unknown[]>;
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await ended).to.deep.equal([143, null]);
    expect(await cluster().ok('node', 'exec', 'term', '--', 'ps')).to.not.include('4327');
  });

  it('what follows ends when nobody reads it any more, though nothing happens', async () => {
    const nexus = `${process.execPath} ${join(PROJECT, 'dist', 'cli', 'main.js')}`;
    for (const words of ['node logs -f term', 'events -f', 'metrics -f term']) {
      const script = `${nexus} ${words} | head -n 1 >/dev/null; echo "\${PIPESTATUS[0]}"`;
      const child = spawnChild('bash', ['-c', script], { env: cluster().env, stdio: ['ignore', 'pipe', 'inherit'] });
      expect(await text(child.stdout), words).to.equal('141\n');
    }
  });

  it('what waits for a controller that hangs ends, and names it', async () => {
    // Whose restart will have been cut off.
    await cluster().ok('node', 'create', 'hung', '--storage', '64M');
    const start = (...words: string[]): { child: ChildProcess; said: Promise<string>; ended: Promise<unknown[]> } => {
      const args = [join(PROJECT, 'dist', 'cli', 'main.js'), ...words];
      const child = spawnChild(process.execPath, args, { env: cluster().env, stdio: ['ignore', 'pipe', 'pipe'] });
      return { child, said: text(child.stderr), ended: once(child, 'exit') };
    };
    const silent = start('node', 'exec', 'term', '--', 'sh', '-c', 'echo up; sleep 4328');
    const following = [start('events', '-f'), start('node', 'logs', '-f', 'hung'), start('metrics', '-f', 'hung')];
    // One answer that comes late: the node has a command that takes no notice of SIGTERM, and has its time.
    const deaf = start('node', 'exec', 'hung', '--', 'sh', '-c', 'trap "" TERM; echo up; while :; do sleep 1; done');
    for (const { child } of [silent, ...following, deaf]) if (child.stdout !== null) await once(child.stdout, 'data');
    const restarting = start('node', 'restart', 'hung');
    await eventually(
      () => cluster().ok('node', 'inspect', 'hung'),
      (shown) => shown.includes('Stopping'),
    );
    process.kill(cluster().controllerPid, 'SIGSTOP');
    try {
      for (const { ended, said } of [silent, ...following, deaf, restarting]) {
        expect(await ended).to.deep.equal([5, null]);
        expect(await said).to.include(`(pid ${cluster().controllerPid}) is running but does not answer`);
      }
    } finally {
      process.kill(cluster().controllerPid, 'SIGCONT');
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

  it('is not told what to do by a node: not by its log, the reason of its end, or an event', async () => {
    const { id, pid } = await cluster().json<NodeJson>('node', 'inspect', 'term');
    // Sets the title of a terminal; a colour, in one character that some terminals take for two.
    const escapes = '\u001b]0;x\u0007\u009b31m';
    appendFileSync(join(cluster().stateDir, 'logs', `${id}.log`), `first-stage: ${escapes}\n`);
    process.kill(pid, 'SIGKILL');
    await eventually(
      () => cluster().json<NodeJson>('node', 'inspect', 'term'),
      ({ status }) => status === 'Failed',
    );
    const lines = [
      'status',
      'events',
      'node inspect term',
      'node ls',
      'node logs term',
      'events -o yaml',
      'status -o json',
    ];
    for (const line of lines) {
      const args = [join(PROJECT, 'dist', 'cli', 'main.js'), ...line.split(' ')];
      const options = { cols: 200, rows: 50, env: { ...cluster().env, TERM: 'xterm' } };
      const { seen, ended } = onTerminal(process.execPath, args, options);
      expect(await ended, line).to.equal(0);
      expect(seen(), line).to.contain(']0;x');
      for (const raw of ['\u001b]', '\u0007', '\u009b']) expect(seen(), line).not.to.contain(raw);
    }
    expect(await cluster().ok('node', 'logs', 'term')).to.contain(escapes);
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
