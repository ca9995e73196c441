/** Interrupted commands, each as a process of its own that gets a real signal. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { FakeController } from '../support/fake-controller.js';

const EXIT_CODES = [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const;

describe('an interrupted command', function () {
  this.timeout(20_000);
  const started: ChildProcess[] = [];
  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL');
  });

  /** The handler never answers: the command waits for it until it is interrupted. */
  const interrupt = async (
    method: string,
    words: string,
    signal: NodeJS.Signals,
  ): Promise<{ code: unknown; stderr: string }> => {
    let reached = (): void => undefined;
    const waiting = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const handler = (call: { on(event: 'error' | 'data', listener: () => void): void }): void => {
      call.on('error', () => undefined);
      call.on('data', () => undefined);
      reached();
    };
    await using controller = await FakeController.start({ [method]: handler });
    const child = spawn(process.execPath, ['--import=tsx', 'cli/main.ts', ...words.split(' ')], {
      env: { ...process.env, ...controller.env },
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    started.push(child);
    await waiting;
    child.kill(signal);
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit') as Promise<[unknown]>]);
    return { code, stderr };
  };

  for (const [signal, exitCode] of EXIT_CODES) {
    it(`exits with ${exitCode} after ${signal}`, async () => {
      const { code, stderr } = await interrupt('createNode', 'node create a --storage 1G', signal);
      expect(code).to.equal(exitCode);
      expect(stderr).to.match(/^nexus: interrupted[^\n]*\n$/);
    });
  }

  for (const [method, words] of [
    ['watchEvents', 'events -f'],
    ['getNodeLogs', 'node logs a -f'],
    ['removeNode', 'node rm a b c'],
    ['getFile', 'file download f1 -'],
    ['importImage', 'image import a -'],
    ['buildImage', 'image build'],
  ] as const) {
    it(`nexus ${words} exits with 130 after Ctrl-C, with one line at most`, async () => {
      const { code, stderr } = await interrupt(method, words, 'SIGINT');
      expect(code).to.equal(130);
      expect(stderr).to.match(/^(nexus: [^\n]*interrupted[^\n]*\n)?$/);
    });
  }
});
