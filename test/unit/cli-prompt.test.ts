/** Questions on a terminal: secrets are not shown, and the keys that edit a line do. */
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { Prompt } from '../../cli/terminal/prompt.js';
import { codeOf } from '../support/codes.js';

class FakeTerminal {
  readonly modes: boolean[] = [];
  readonly stdin = Object.assign(new PassThrough(), {
    isTTY: true as const,
    setRawMode: (raw: boolean) => this.modes.push(raw),
  });
  readonly stderr = new PassThrough();
  readonly interrupt = new AbortController();
  readonly prompt = new Prompt(
    { stdin: this.stdin, stdout: new PassThrough(), stderr: this.stderr, env: {} },
    this.interrupt.signal,
  );

  get shown(): string {
    return String(this.stderr.read() ?? '');
  }
}

describe('a prompt on a terminal', () => {
  it('takes a secret key by key, without showing it', async () => {
    const terminal = new FakeTerminal();
    const asked = terminal.prompt.askSecret('password');
    terminal.stdin.write('wrong\u0015sé');
    terminal.stdin.write('x\u007f\u007fe\u0008ecret\r');
    expect(await asked).to.equal('secret');
    expect(terminal.shown).to.equal('password: \n');
    expect([terminal.modes[0], terminal.modes.at(-1)]).to.deep.equal([true, false]);
    terminal.prompt[Symbol.dispose]();
  });

  it('leaves lines that may be seen to the terminal, and keeps what is typed ahead', async () => {
    const terminal = new FakeTerminal();
    terminal.stdin.write('alice\nsecret\n');
    expect(await terminal.prompt.ask('user name')).to.equal('alice');
    expect(terminal.modes).not.to.include(true);
    expect(await terminal.prompt.askSecret('password')).to.equal('secret');
    terminal.prompt[Symbol.dispose]();
  });

  it('has a new secret typed twice', async () => {
    const terminal = new FakeTerminal();
    terminal.stdin.write('one\rone\r');
    expect(await terminal.prompt.askNewSecret('password')).to.equal('one');
    expect(terminal.shown).to.equal('password: \npassword again: \n');
    terminal.stdin.write('one\rtwo\r');
    expect(await codeOf(() => terminal.prompt.askNewSecret('password'))).to.equal('invalid_argument');
    terminal.prompt[Symbol.dispose]();
  });

  for (const [name, key] of [
    ['Ctrl-C', '\u0003'],
    ['Ctrl-D', '\u0004'],
  ] as const) {
    it(`ends at ${name} and gives the terminal back`, async () => {
      const terminal = new FakeTerminal();
      const asked = codeOf(() => terminal.prompt.askSecret('password'));
      terminal.stdin.write(`half${key}`);
      expect(await asked).to.equal('cancelled');
      expect(terminal.modes.at(-1)).to.equal(false);
      terminal.prompt[Symbol.dispose]();
    });
  }

  it('ends when the command is interrupted', async () => {
    const terminal = new FakeTerminal();
    const asked = codeOf(() => terminal.prompt.askSecret('password'));
    terminal.interrupt.abort();
    expect(await asked).to.equal('cancelled');
    expect(await codeOf(() => terminal.prompt.ask('user name'))).to.equal('cancelled');
    terminal.prompt[Symbol.dispose]();
  });
});
