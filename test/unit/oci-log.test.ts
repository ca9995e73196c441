/** What the logs of OCI runtimes say of a command that could not begin, in the words of runc 1.1.5 and crun 1.8.1. */
import { expect } from 'chai';
import { restOfTerminal } from '../../controller/hosting/contained/programs.js';
import { BY_FIRST_PROCESS, failureIn, lastEntry } from '../../controller/hosting/start-failure.js';

const line = (msg: string, level = 'error'): string =>
  `${JSON.stringify({ msg, level, time: '2026-01-01T00:00:00Z' })}\n`;
const command = { command: ['prog', 'x'], uid: 0, workingDir: '/nosuch' };
const codeOf = (log: string, exitCode: number): number | undefined =>
  failureIn(log, { program: 'crun', exitCode }, command)?.exitCode;

describe('the log of an OCI runtime', () => {
  it('ends with an entry, or with something else', () => {
    expect(lastEntry(line('one') + line('two', 'warning'))).to.deep.equal({ isError: false, words: 'two' });
    expect(lastEntry(`${line('one')}\u001b[1mwords\r\n\n`)).to.deep.equal({ isError: true, words: 'one' });
    for (const text of ['', 'no JSON\n', 'null\n', '{"level":"error"}\n', '{"level":"err'])
      expect(lastEntry(text), text).to.equal(undefined);
  });

  it('says why a command could not begin', () => {
    const absent = 'executable file `prog` not found in $PATH: No such file or directory';
    expect(codeOf(line(absent), 255)).to.equal(127);
    expect(
      codeOf(line('exec failed: unable to start: exec: "prog": executable file not found in $PATH'), 255),
    ).to.equal(127);
    expect(codeOf(line('open executable: Permission denied'), 255)).to.equal(126);
    expect(codeOf(line('chdir `/nosuch`: No such file or directory'), 255)).to.equal(126);
    expect(codeOf(line(`${BY_FIRST_PROCESS}exec: Exec format error`), 1)).to.equal(126);
    expect(codeOf(line(`${BY_FIRST_PROCESS}exec: No such file or directory`), 1)).to.equal(127);
  });

  it('tells a node without terminals from a full disk', () => {
    for (const said of [
      'exec failed: open /dev/ptmx: no space left on device',
      'open `/dev/ptmx`: No space left on device',
    ]) {
      const { words, exitCode } = failureIn(line(said), { program: 'crun', exitCode: 255 }, command) ?? {};
      expect(exitCode).to.equal(126);
      expect(words).to.match(/^nexus: prog gets no terminal in the node: its programs hold all 256/);
    }
  });

  it('holds the end of a terminal’s output in pieces, of any length', () => {
    for (const length of [0, 1, 254, 255, 256, 510, 511, 4095]) {
      const output = Buffer.from(Array.from({ length }, (_, at) => (at % 7 === 0 ? 10 : 97 + (at % 26))));
      const pieces = Array.from({ length: Math.ceil(length / 255) }, (_, at) =>
        output.subarray(at * 255, (at + 1) * 255),
      );
      const log = Buffer.concat(pieces.flatMap((piece) => [piece, Buffer.from('\n')]));
      expect(restOfTerminal(log).equals(output), String(length)).to.equal(true);
    }
  });

  it('is not asked about a command that ended by itself', () => {
    expect(codeOf('', 255)).to.equal(undefined);
    expect(codeOf(line('something', 'warning'), 255)).to.equal(undefined);
    expect(codeOf(line('executable file not found'), 1)).to.equal(undefined);
  });
});
