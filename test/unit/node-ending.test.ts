import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeLogWriters } from '../fakes/log-writers.js';
import { endingOf, howItEnded, startLine, type Ending } from '../../controller/node/watch/ending.js';

const agent = (msg: string, fields: object = {}): string =>
  JSON.stringify({ level: 30, name: 'agent', ...fields, msg });
const START = JSON.stringify({ level: 30, name: 'controller', starting: true, msg: 'the node is starting' });
const UP = agent('the agent is up');
const ASKED = agent('the agent ended as requested', { ending: 'asked' });
/** As an earlier version started agents. */
const SPAWNED = "[INFO  tini (1)] Spawned child process '/.nexus/rt/lib/loader' with pid '60'";
const log = (...lines: string[]): string => `${lines.join('\n')}\n`;

describe('how a node ended', () => {
  it('is not told by the unrelated last line of an agent that was killed', () => {
    const { text, wasKilled } = endingOf(log(START, UP, agent('a replica was not written', { level: 40 })));
    expect(wasKilled).to.equal(true);
    expect(text)
      .to.match(/was killed/)
      .and.not.include('replica');
  });

  it('is not told by the closing line of an earlier run', () => {
    expect(endingOf(log(START, UP, ASKED, START)).wasKilled).to.equal(true);
    expect(endingOf(log(START, UP, ASKED, START, UP)).wasKilled).to.equal(true);
  });

  it("is told by the agent's closing line", () => {
    const failed = agent('the agent cannot go on: the disk is gone', { level: 50, ending: 'failed' });
    expect(endingOf(log(START, UP, failed, SPAWNED, exited('1')))).to.deep.equal({
      text: 'the agent cannot go on: the disk is gone',
      wasKilled: false,
    });
    const asked = endingOf(log(START, UP, ASKED));
    expect(asked.wasKilled).to.equal(false);
    expect(asked.text).to.match(/asked to end/);
  });

  const exited = (status: string): string => `[INFO  tini (1)] Main child exited normally (with status '${status}')`;
  const signalled = (signal: string): string =>
    `[INFO  tini (1)] Main child exited with signal (with signal '${signal}')`;

  it('is told by what the init saw of the agent', () => {
    const killed = endingOf(log(START, UP, 'node-init: the program was ended by signal 9 (Killed)'));
    expect(killed).to.deep.equal({ text: 'its agent was ended by a signal: Killed', wasKilled: true });
    const said = endingOf(log(START, UP, '#', '# Fatal', 'node-init: the program was ended by signal 6 (Aborted)'));
    expect(said).to.deep.equal({ text: 'its agent was ended by a signal: Aborted', wasKilled: false });
    expect(endingOf(log(START, UP, 'node-init: the program ended with exit status 7')).text).to.include('exit code 7');
    const notRun = 'node-init: /.nexus/rt/lib/loader cannot be run: No such file or directory';
    expect(endingOf(log(START, notRun, 'node-init: the program ended with exit status 126')).text).to.equal(
      'its agent cannot be run: No such file or directory',
    );
  });

  it('is told by what the init of an earlier version saw of it', () => {
    expect(endingOf(log(START, UP, SPAWNED, signalled('Killed')))).to.deep.equal({
      text: 'its agent was ended by a signal: Killed',
      wasKilled: true,
    });
    const crashed = endingOf(log(START, UP, '#', '# Fatal error', signalled('Aborted')));
    expect(crashed).to.deep.equal({ text: 'its agent was ended by a signal: Aborted', wasKilled: false });
    expect(endingOf(log(START, UP, SPAWNED, exited('7'))).text).to.include('exit code 7');
  });

  it('is told by the first stage and by Node.js, whose words are not in the form of a log', () => {
    const refusal = 'the volume is in use by another node; stop that node first';
    expect(endingOf(log(START, `first-stage: ${refusal}`))).to.deep.equal({ text: refusal, wasKilled: false });
    const thrown = log(START, 'node:internal:1228', '  throw err;', "Error: Cannot find module 'x'", '', 'Node.js v20');
    expect(endingOf(thrown).text).to.equal("Error: Cannot find module 'x'");
  });

  it('is never told by a scrap of a line, nor by what would move a cursor', () => {
    const cut = endingOf(`${START}\n${UP}\n{"level":50,"time":"2026-1`);
    expect(cut).to.include({ wasKilled: true }).and.have.property('text').that.does.not.include('{');
    expect(endingOf(`${START}\n{"lev\nnull\n`).text).to.equal('null');
    expect(endingOf(log(START, `first-stage: \u001b[2J${'x'.repeat(10_000)}`)).text)
      .to.match(/^\?\[2Jx+…$/)
      .and.have.length(500);
  });

  it('is told for a log that is not there, empty, or longer than what is read of it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-ending-'));
    try {
      const path = join(folder, 'node.log');
      const asked = (): Promise<Ending> => howItEnded(new FakeLogWriters(), { path, record: '' });
      expect((await asked()).wasKilled).to.equal(true);
      await appendFile(path, log(ASKED));
      await appendFile(path, startLine(0));
      expect((await asked()).wasKilled).to.equal(true);
      await appendFile(path, `${`${UP}\n`.repeat(5000)}${ASKED}\n`);
      expect((await asked()).wasKilled).to.equal(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
