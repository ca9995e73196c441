/** What becomes of odd code in a real sandbox: each end is told as what it was. */
import { expect } from 'chai';
import type { Invocation, SandboxEnd } from '../../controller/lambda/sandbox/port.js';
import { MIB } from '../../shared/limits.js';
import { openTemplate, type OpenedTemplate } from '../support/sandboxes.js';
import { skipWithoutSystem } from '../support/system.js';

const LIMITS = { memoryBytes: 64 * MIB };
const EVENT = '{"a": 1.0, "b": 12345678901234567890, "c": 1e-7, "d": "\\u00e9"}';
const DEEP = `${'['.repeat(200)}${']'.repeat(200)}`;
const FEW_AT_A_TIME = 'pages = []\n  while True: pages.append(bytearray(1 << 20))';

interface Ran extends SandboxEnd {
  readonly stdout: string;
  readonly stderr: string;
  readonly result: string;
}

interface Case {
  readonly title: string;
  readonly code: string;
  readonly event?: string;
  readonly stdin?: string;
  readonly end: Partial<Ran>;
  readonly says?: string;
}

const CASES: readonly Case[] = [
  {
    title: 'an event arrives as it was written, and a result as Python has it',
    code: 'def handler(event): return event',
    event: EVENT,
    end: { exitCode: 0, stdout: '', result: `${EVENT.replace('1e-7', '1e-07')}\n` },
  },
  {
    title: 'an event may be as deep as is allowed',
    code: 'def handler(event): return event',
    event: DEEP,
    end: { exitCode: 0, stdout: '', result: `${DEEP}\n` },
  },
  {
    title: 'a handler that prints and returns: both, apart',
    code: 'def handler(event):\n  print("called", end="")\n  return {"n": 1}',
    event: 'null',
    end: { exitCode: 0, stdout: 'called', stderr: '', result: '{"n": 1}\n' },
  },
  {
    title: 'a result as large as its stream takes at once, many times over',
    code: 'def handler(event): return "x" * 900000',
    event: 'null',
    end: { exitCode: 0, stdout: '', result: `"${'x'.repeat(900_000)}"\n` },
  },
  {
    title: 'what is printed in the form of a result',
    code: 'import sys\ndef handler(event):\n  print(\'{"n": 1}\')\n  sys.exit(0)',
    event: 'null',
    end: { exitCode: 0, stdout: '{"n": 1}\n', result: '' },
  },
  {
    title: 'code without an event has no stream for a result',
    code: 'import os\ndef handler(event): return 1\nos.write(3, b"1\\n")',
    end: { exitCode: 1, stdout: '', result: '' },
    says: 'OSError: [Errno 9] Bad file descriptor',
  },
  {
    title: 'a program that the code starts has no stream for a result',
    code: 'import subprocess\ndef handler(event):\n  return subprocess.run("echo 2 >&3", shell=True, close_fds=False).returncode != 0',
    event: 'null',
    end: { exitCode: 0, stdout: '', result: 'true\n' },
  },
  {
    title: 'a handler that closes every descriptor before it returns',
    code: 'import os\ndef handler(event):\n  os.closerange(0, 1000)\n  return 1',
    event: 'null',
    end: { exitCode: 1, stdout: '', stderr: '', result: '' },
  },
  {
    title: 'a handler that loses its stream for the result is told so',
    code: 'import os\ndef handler(event):\n  os.close(3)\n  return 1',
    event: 'null',
    end: { exitCode: 1, stdout: '', result: '' },
    says: "what handler returned can't be delivered: [Errno 9] Bad file descriptor",
  },
  {
    title: 'a result that is no number of JSON',
    code: 'def handler(event): return {"share": float("nan")}',
    event: 'null',
    end: { exitCode: 1, stdout: '' },
    says: "what handler returned can't be written as JSON: Out of range float values",
  },
  {
    title: 'a result that JSON has no form for',
    code: 'def handler(event): return {1, 2}',
    event: 'null',
    end: { exitCode: 1, stdout: '' },
    says: "can't be written as JSON: Object of type set is not JSON serializable",
  },
  {
    title: 'a result that holds itself',
    code: 'def handler(event):\n  event.append(event)\n  return event',
    event: '[]',
    end: { exitCode: 1, stdout: '' },
    says: "can't be written as JSON: Circular reference",
  },
  {
    title: 'a byte order mark, line ends of Windows and a line that names the encoding, as in a file',
    code: '\ufeff# -*- coding: utf-8 -*-\r\nif True:\r\n    print("g\u00f6", __name__, __file__)\r\n',
    end: { exitCode: 0, stdout: 'g\u00f6 __main__ main.py\n', stderr: '' },
  },
  {
    title: 'an encoding other than the one that the code has',
    code: '# coding: latin-1\nprint(len("\u00f6"))',
    end: { exitCode: 0, stdout: '2\n' },
  },
  {
    title: 'an encoding that nobody knows',
    code: '# coding: klingon\nprint(1)',
    end: { exitCode: 1, stdout: '' },
    says: 'SyntaxError: ',
  },
  {
    title: 'a zero byte in the code',
    code: 'print(1)\u0000',
    end: { exitCode: 1, stdout: '' },
    says: 'SyntaxError: source code',
  },
  { title: 'exit', code: 'exit()', end: { exitCode: 0, stdout: '', stderr: '' } },
  { title: 'exit with a code', code: 'exit(7)', end: { exitCode: 7, stdout: '', stderr: '' } },
  { title: 'quit with words', code: 'quit("enough")', end: { exitCode: 1, stdout: '', stderr: 'enough\n' } },
  { title: 'sys.exit with words', code: 'import sys; sys.exit("text")', end: { exitCode: 1, stderr: 'text\n' } },
  {
    title: 'input, its prompt, and its end',
    code: 'print(input("name? "))\ninput()',
    stdin: 'ann\n',
    end: { exitCode: 1, stdout: 'name? ann\n' },
    says: 'EOFError: EOF when reading a line',
  },
  {
    title: 'a handler that is no function',
    code: 'handler = 5',
    event: 'null',
    end: { exitCode: 1, stdout: '' },
    says: 'handler must be a function of one argument, the event; it is of type int',
  },
  {
    title: 'code that closes every descriptor and goes on',
    code: 'import os\nprint("before")\nos.closerange(0, 1000)',
    end: { exitCode: 0, stdout: 'before\n', stderr: '' },
  },
  {
    title: 'code that closes every descriptor and fails',
    code: 'import os\nos.closerange(0, 1000)\nraise ValueError',
    end: { exitCode: 1, stdout: '', stderr: '' },
  },
  {
    title: 'code that closes every descriptor and leaves with a message',
    code: 'import os, sys\nos.closerange(0, 1000)\nsys.exit("for nobody")',
    end: { exitCode: 1, stdout: '', stderr: '' },
  },
  {
    title: 'code that breaks its own way to tell of errors',
    code: 'import sys, traceback\nsys.stderr = sys.excepthook = traceback.print_exception = None\nraise ValueError',
    end: { exitCode: 1, stdout: '' },
  },
  {
    title: 'a child that comes to the memory limit ends the code with it',
    code: `import os, time\nif os.fork() == 0:\n  ${FEW_AT_A_TIME}\ntime.sleep(200)`,
    end: { exitCode: 137, outOfMemory: 'limit' },
  },
];

describe('odd code in a sandbox', function () {
  this.timeout(180_000);
  let opened: OpenedTemplate;
  before(async function () {
    skipWithoutSystem(this);
    opened = await openTemplate();
  });
  after(async () => {
    expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
  });

  const run = async (code: string, more: Partial<Invocation> = {}): Promise<Ran> => {
    const sandbox = await opened.runtime.create(opened.node, LIMITS, new AbortController().signal);
    const said = { stdout: '', stderr: '', result: '' };
    const invocation = { code, event: undefined, stdin: Buffer.alloc(0), files: [], ...LIMITS, ...more };
    await sandbox.start(invocation, (stream, data) => {
      said[stream] += data.toString('utf8');
    });
    return { ...(await sandbox.ended), ...said };
  };

  for (const { title, code, event, stdin = '', end, says } of CASES) {
    it(title, async () => {
      const ran = await run(code, { event, stdin: Buffer.from(stdin) });
      expect(ran).to.include(end);
      if (says !== undefined) expect(ran.stderr).to.contain(says);
    });
  }

  it('memory of the node that ends before the limit is told as such', async () => {
    await opened.limitNode(32 * MIB);
    const ran = await run(`import os, time\nif os.fork() == 0:\n  ${FEW_AT_A_TIME}\ntime.sleep(200)`);
    expect(ran).to.include({ exitCode: 137, outOfMemory: 'node' });
  });
});
