/** Completion read by real shells, against a real cluster. */
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { spawn } from 'node-pty';
import { eventually, PROJECT } from '../support/cluster.js';
import { describeWithCluster } from '../support/system.js';

const execute = promisify(execFile);

describeWithCluster('completion in shells', { runtime: 'process' }, (cluster) => {
  let env: NodeJS.ProcessEnv;

  before(async () => {
    for (const name of ['web-1', 'web-2', 'db']) await cluster().ok('node', 'create', name, '--storage', '64M');
    const bin = join(cluster().folder, 'bin');
    mkdirSync(bin);
    const program = join(bin, 'nexus');
    const line = `"${process.execPath}" "${join(PROJECT, 'dist/cli/main.js')}"`;
    writeFileSync(program, `#!/bin/sh\nexec ${line} "$@"\n`);
    chmodSync(program, 0o755);
    env = { ...cluster().env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, HOME: cluster().folder, TERM: 'dumb' };
  });

  const shell = async (program: string, ...args: string[]): Promise<string[]> => {
    const { stdout, stderr } = await execute(program, args, { env, cwd: cluster().folder });
    expect(stderr).to.equal('');
    return stdout.split('\n').filter((line) => line !== '');
  };

  it('bash: words, nodes, values behind an equals sign, files', async () => {
    const complete = (words: string): Promise<string[]> =>
      shell(
        'bash',
        '--norc',
        '-c',
        // compopt works only within a completion that readline asked for.
        `source <(nexus completion bash); compopt() { :; }; COMP_WORDS=(nexus ${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _nexus; printf '%s\\n' "\${COMPREPLY[@]}"`,
      );
    expect(await complete('node cor')).to.deep.equal(['cordon']);
    expect(await complete('node rm web')).to.deep.equal(['web-1', 'web-2']);
    expect(await complete('node ls --output = j')).to.deep.equal(['json']);
    expect(await complete('file upload bi')).to.deep.equal(['bin']);
    expect(await complete("node exec db -- ''")).to.deep.equal([]);
  });

  it('bash: at a press of Tab', async () => {
    const terminal = spawn('bash', ['--norc', '-i'], { cols: 100, rows: 20, env: { ...env, PS1: '$ ' } });
    let output = '';
    terminal.onData((data) => {
      output += data;
    });
    const ended = new Promise((resolve) => {
      terminal.onExit(resolve);
    });
    terminal.write('source <(nexus completion bash); echo rea""dy\r');
    await eventually(
      () => output,
      (text) => /\nready/.test(text),
    );
    terminal.write('nexus node inspect d\t');
    await eventually(
      () => output,
      (text) => text.includes('nexus node inspect db '),
    );
    terminal.write('\u0015exit\r');
    await ended;
  });

  it('zsh: words and nodes with what they mean', async () => {
    const complete = (words: string): Promise<string[]> =>
      shell(
        'zsh',
        '-f',
        '-c',
        `compdef() { :; }; _files() { echo files; }; _describe() { print -l -- "\${(@P)2}"; }; source <(nexus completion zsh); words=(nexus ${words}); CURRENT=$#words; _nexus`,
      );
    expect(await complete('node cor')).to.deep.equal(['cordon:place nothing new on a node']);
    expect(await complete('top --sort c')).to.deep.equal(['cpu', 'chunks']);
    expect((await complete("node rm ''")).map((line) => line.split(':')[0])).to.deep.equal(['web-1', 'web-2', 'db']);
    expect(await complete("file upload ''")).to.deep.equal(['files']);
  });

  it('zsh: after compinit', async () => {
    const [line] = await shell(
      'zsh',
      '-f',
      '-c',
      'autoload -U compinit; compinit -D; source <(nexus completion zsh); print $_comps[nexus]',
    );
    expect(line).to.equal('_nexus');
  });

  it('fish: words, nodes and files', async () => {
    const rows = (line: string): Promise<string[]> =>
      shell('fish', '--no-config', '-c', `nexus completion fish | source; complete -C "${line}"`);
    const complete = async (line: string): Promise<string[]> =>
      (await rows(line)).map((text) => text.split('\t')[0] ?? '');
    expect(await rows('nexus top --sort c')).to.have.members(['cpu', 'chunks']);
    expect(await complete('nexus node cor')).to.deep.equal(['cordon']);
    expect(await complete('nexus node rm web')).to.deep.equal(['web-1', 'web-2']);
    expect(await complete('nexus file upload bi')).to.deep.equal(['bin/']);
  });
});
