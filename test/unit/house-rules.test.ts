/** Each house rule finds what it is for, and leaves what it recommends. */
import { expect } from 'chai';
import { Linter } from 'eslint';
import tseslint from 'typescript-eslint';
import { HOUSE_RULES, houseRulesConfig } from '../../deploy/house-rules.mjs';

const EXAMPLES: Readonly<Record<string, { readonly bad: readonly string[]; readonly good: readonly string[] }>> = {
  'advice is data': {
    bad: ["refuse('gone; nexus node ls lists them');", 'refuse(`start it with: nexus node start ${name}`);'],
    good: ["refuse('gone', { advice: { key: 'list-nodes' } });", "const user = 'nexus';"],
  },
  'errors are not masked': {
    bad: ['try { work(); } finally { await close(); }', 'try { work(); } catch (error) { await undo(); throw error; }'],
    good: ['try { work(); } finally { await close().catch(noted); }'],
  },
  'nobody asks what a node is made of': {
    bad: ["if (runtime === 'runc') start();", 'if (node.isContained) start();'],
    good: ['if (hosting.can.limitMemory) start();'],
  },
  'waits end': {
    bad: [
      'setTimeout(act, 5);',
      'clearInterval(timer);',
      'await new Promise((resolve) => stream.once("end", resolve));',
      "import { setTimeout as delay } from 'node:timers/promises';",
      "signal.addEventListener('abort', act);",
      'const both = AbortSignal.any([one, other]);',
    ],
    good: [
      'await within(5, signal, work);',
      "import { setImmediate } from 'node:timers/promises';",
      'await Promise.all(works);',
      "socket.addEventListener('close', act);",
    ],
  },
  'the time is read from the clock': {
    bad: ['const at = Date.now();', 'const at = new Date();', 'performance.now();', 'process.hrtime.bigint();'],
    good: ['const at = clock.now();', 'const at = new Date(clock.now());'],
  },
  'children are started in one place': {
    bad: ["import { spawn } from 'node:child_process';", 'startChild(program, args, { shell: true });'],
    good: ['startChild(program, args, { detached: true });'],
  },
  'bounds that several files need stand in limits': {
    bad: ['export const MAX_NODES = 5;'],
    good: ['const MAX_NODES = 5;', "import { MAX_NODES } from '../shared/limits.js';"],
  },
  'codes are matched, never texts': {
    bad: [
      "if (error.message === 'gone') retry();",
      "if (error.message.includes('gone')) retry();",
      'if (/gone/.test(error.message)) retry();',
    ],
    good: ["if (error.code === 'unavailable') retry();", 'say(error.message);'],
  },
  'things are closed or destroyed': {
    bad: ['class Bus { async stop() {} }', 'interface Bus { dispose(): Promise<void>; }'],
    good: ['class Bus { async close() {} }', 'interface Nodes { stop(name: string): Promise<void>; }'],
  },
};

describe('the house rules', () => {
  const linter = new Linter();
  /** The names of the rules that the text breaks, as if it were this file. */
  const broken = (text: string, file = 'controller/some.ts'): string[] =>
    linter
      .verify(
        text,
        [
          { files: ['**/*.ts'], languageOptions: { parser: tseslint.parser } },
          ...(houseRulesConfig(['**/*.ts'], ['test/**']) as Linter.Config[]),
        ],
        file,
      )
      .map(({ message }) => message.split(':')[0] ?? '');

  for (const { name, except = [] } of HOUSE_RULES) {
    it(`${name}: finds what breaks it, and nothing else`, () => {
      const { bad = [], good = [] } = EXAMPLES[name] ?? {};
      expect(bad, 'no example').not.to.deep.equal([]);
      for (const text of bad) expect(broken(text), text).to.include(name);
      for (const text of good) expect(broken(text), text).to.deep.equal([]);
    });

    it(`${name}: does not apply to tests, nor to the files that it names`, () => {
      const [text = ''] = EXAMPLES[name]?.bad ?? [];
      for (const pattern of ['test/unit/some.ts', ...except])
        expect(broken(text, pattern.replace('**', 'some').replace('*', 'some')), pattern).not.to.include(name);
    });
  }
});
