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
    bad: [
      'try { work(); } finally { await close(); }',
      'try { work(); } catch (error) { await undo(); throw error; }',
      'try { work(); } catch (error) { await undo(); if (isBad) throw error; }',
      'try { work(); } catch (error) { if (isBad) { await undo(); throw error; } }',
      'try { work(); } catch (error) { if (await isBad()) throw error; }',
      'try { work(); } catch (error) { switch (kind) { case 1: await undo(); break; } throw error; }',
      'try { work(); } catch (error) { await undo(); if (isBad) { note(); throw error; } await again(); }',
    ],
    good: [
      'try { work(); } finally { await close().catch(noted); }',
      'try { work(); } catch (error) { if (isBad) throw error; await again(); }',
      'try { work(); } catch (error) { await undo(); say(() => { throw other; }); }',
      'try { work(); } catch (error) { throw await worded(error); }',
    ],
  },
  'nobody asks what a node is made of': {
    bad: [
      "if (runtime === 'runc') start();",
      'if (node.isContained) start();',
      "switch (kind) { case 'process': start(); }",
      'if (kind === `process`) start();',
      "if (['runc', 'crun'].includes(runtime)) start();",
      "const plain = 'process' as const;",
      'if (/^(runc|crun)$/.test(runtime)) start();',
      'if (one.hosting.kind === other) start();',
      'if (RUNTIMES[runtime].hosting === RUNTIMES.process.hosting) start();',
      "if (node['isContained']) start();",
      "if ('loopDevice' in hosting) start();",
      'if (node.loopDevice < 0) start();',
    ],
    good: ['if (hosting.can.limitMemory) start();', 'process.exitCode = 1;', "if (place.kind === 'local') start();"],
  },
  'waits end': {
    bad: [
      'setTimeout(act, 5);',
      'clearInterval(timer);',
      'await new Promise((resolve) => stream.once("end", resolve));',
      "import { setTimeout as delay } from 'node:timers/promises';",
      "signal.addEventListener('abort', act);",
      'const both = AbortSignal.any([one, other]);',
      'globalThis.setTimeout(act, 5);',
      'const later = setTimeout;',
      "import * as timers from 'node:timers';",
      "import timers from 'timers/promises';",
      "const { setTimeout: pause } = await import('node:timers/promises');",
      "export { setTimeout } from 'node:timers';",
      'socket.setTimeout(5, act);',
      "const { setTimeout } = require('node:timers');",
      'const soon = AbortSignal.timeout(5);',
      "const soon = AbortSignal['timeout'](5);",
      'const soon = globalThis.AbortSignal.timeout(5);',
      'const { promise } = Promise.withResolvers();',
      'signal.onabort = act;',
    ],
    good: [
      'await within(5, signal, work);',
      "import { setImmediate } from 'node:timers/promises';",
      'await Promise.all(works);',
      "socket.addEventListener('close', act);",
      'request.setTimeout(5);',
      "attack('timers');",
    ],
  },
  'the time is read from the clock': {
    bad: ['const at = Date.now();', 'const at = new Date();', 'performance.now();', 'process.hrtime.bigint();'],
    good: ['const at = clock.now();', 'const at = new Date(clock.now());'],
  },
  'children are started in one place': {
    bad: [
      "import { spawn } from 'node:child_process';",
      'startChild(program, args, { shell: true });',
      "const { spawn } = await import('node:child_process');",
      "export { spawn } from 'child_process';",
      "export * from 'node:child_process';",
      "const { spawn } = createRequire(import.meta.url)('node:child_process');",
      'const children = await import(`node:child_process`);',
      "startChild(program, args, { shell: '/bin/sh' });",
    ],
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
      "if ('gone' === error.message) retry();",
      'if (`gone` !== error?.message) retry();',
      "switch (error.message) { case 'gone': retry(); }",
      "if (['gone', 'lost'].includes(error.message)) retry();",
    ],
    good: ["if (error.code === 'unavailable') retry();", 'say(error.message);'],
  },
  'things are closed or destroyed': {
    bad: [
      'class Bus { async stop() {} }',
      'interface Bus { dispose(): Promise<void>; }',
      'class Bus { stop = async () => {}; }',
      'interface Bus { readonly stop: () => Promise<void>; }',
      'abstract class Bus { abstract stop(): void; }',
      "class Bus { 'stop'() {} }",
      'const bus = { stop: () => end(), name };',
      'const bus = { async stop() {} };',
    ],
    good: [
      'class Bus { async close() {} }',
      'interface Nodes { stop(name: string): Promise<void>; }',
      'interface Commands { readonly shutdown: (graceMs: number) => void; }',
      'const stop = () => bus.close();',
    ],
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

  it('leave out of a file what any pattern that matches it leaves out', () => {
    const [advice = ''] = EXAMPLES['advice is data']?.bad ?? [];
    for (const file of ['cli/runner/several.ts', 'shared/host/limits.ts', 'cli/some/limits.ts'])
      expect(broken(advice, file), file).to.deep.equal([]);
    const [bound = ''] = EXAMPLES['bounds that several files need stand in limits']?.bad ?? [];
    expect(broken(bound, 'shared/host/limits.ts')).to.deep.equal([]);
    expect(broken(bound, 'shared/host/other.ts')).to.have.length(1);
    // A single file or folder that one rule names, below a name or a folder that another one names.
    expect(broken(`${bound} setTimeout(act, 5);`, 'shared/async/limits.ts')).to.deep.equal([]);
    expect(broken(`${advice} setTimeout(act, 5);`, 'shared/async/limits.ts')).to.deep.equal(['advice is data']);
  });

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
