/** `nexus top` on a real terminal, before a controller that does not answer. */
import { expect } from 'chai';
import type { UntypedHandleCall } from '@grpc/grpc-js';
import { ListNodeMetricsResponse } from '../../shared/gen/nexus/v1/metrics.js';
import { ListNodesResponse } from '../../shared/gen/nexus/v1/node.js';
import { cliBundle } from '../support/bundles.js';
import { eventually, PROJECT } from '../support/cluster.js';
import { answer, FakeController } from '../support/fake-controller.js';
import { onTerminal, type OnTerminal } from '../support/pty.js';

describe('nexus top, when the controller hangs', function () {
  this.timeout(180_000);
  let controller: FakeController;
  let hangs: boolean;
  let waiting: (() => void)[];
  let sessions: OnTerminal[];
  let program: string;

  before(async () => {
    program = await cliBundle();
  });
  beforeEach(async () => {
    [hangs, waiting, sessions] = [false, [], []];
    const listNodes = answer(() =>
      ListNodesResponse.fromPartial({ nodes: [{ id: 'n1', name: 'web-1', status: 'Running' }] }),
    );
    /** What hangs is answered when `waiting` is called. */
    const sometimes: UntypedHandleCall = (...call: unknown[]) => {
      const reply = (): void => {
        (listNodes as (...call: unknown[]) => void)(...call);
      };
      if (hangs) waiting.push(reply);
      else reply();
    };
    controller = await FakeController.start({
      listNodes: sometimes,
      listNodeMetrics: answer(() => ListNodeMetricsResponse.fromPartial({})),
    });
  });
  afterEach(async () => {
    for (const { terminal, ended } of sessions) {
      terminal.kill('SIGKILL');
      await ended;
    }
    await controller[Symbol.asyncDispose]();
  });

  function open(): OnTerminal {
    const env = { ...process.env, ...controller.env, TERM: 'xterm' };
    const options = { cols: 80, rows: 24, cwd: PROJECT, env };
    const session = onTerminal(process.execPath, [program, 'top'], options);
    sessions.push(session);
    return session;
  }

  for (const [what, key, code] of [
    ['q', 'q', 0],
    ['Ctrl-C', '\u0003', 130],
  ] as const) {
    it(`ends with ${code} on ${what} though nothing was ever answered`, async () => {
      hangs = true;
      const { terminal, seen, ended } = open();
      await eventually(seen, (text) => text.includes('the controller is asked') && waiting.length > 0);
      terminal.write(key);
      expect(await ended).to.equal(code);
      expect(seen().endsWith('\u001b[?25h\u001b[?1049l')).to.equal(true);
    });
  }

  it('says how old the figures are and who does not answer, sorts on, and goes on when it is answered', async () => {
    const { terminal, seen, ended } = open();
    await eventually(seen, (text) => text.includes('web-1'));
    hangs = true;
    const last = (): string => seen().slice(seen().lastIndexOf('\u001b[H\u001b[J'));
    await eventually(last, (text) => /these figures are \d+ s old: the controller .*does not\s+answer/s.test(text));
    expect(last()).to.include('web-1').and.include('kill -CONT');
    terminal.write('m');
    await eventually(last, (text) => text.includes('by mem') && text.includes('s old'));
    hangs = false;
    for (const reply of waiting) reply();
    await eventually(last, (text) => text.includes('by mem') && !text.includes('s old'));
    terminal.write('\u0003');
    expect(await ended).to.equal(130);
  });
});
