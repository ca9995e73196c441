/** What every sandbox runtime keeps: one invocation each, a true end, and that nothing of it is left. */
import { expect } from 'chai';
import type { Invocation, Sandbox, SandboxEnd } from '../../controller/lambda/sandbox/port.js';
import { newNodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';
import { codeOf } from '../support/codes.js';
import { CODE, openTemplate, SANDBOXES, type OpenedSandboxes } from '../support/sandboxes.js';
import { skipWithoutSystem } from '../support/system.js';

const never = new AbortController().signal;
const LIMITS = { memoryBytes: 64 * MIB };

for (const { name, needsRoot, open } of SANDBOXES) {
  describe(`sandbox runtime, ${name}`, function () {
    this.timeout(180_000);
    let opened: OpenedSandboxes;

    before(function () {
      if (needsRoot) skipWithoutSystem(this);
    });
    beforeEach(async () => {
      opened = await open();
      await opened.runtime.prepare([opened.node]);
    });
    afterEach(async () => {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    });

    const create = (): Promise<Sandbox> => opened.runtime.create(opened.node, LIMITS, never);

    interface Ran extends SandboxEnd {
      readonly stdout: string;
      readonly stderr: string;
      readonly result: string;
    }

    const run = async (sandbox: Sandbox, code: string, more: Partial<Invocation> = {}): Promise<Ran> => {
      const said = { stdout: '', stderr: '', result: '' };
      const invocation = { code, event: undefined, stdin: Buffer.alloc(0), files: [], ...LIMITS, ...more };
      await sandbox.start(invocation, (stream, data) => {
        said[stream] += data.toString('utf8');
      });
      return { ...(await sandbox.ended), ...said };
    };

    it('runs code, and tells both streams, the exit code and the memory', async () => {
      const end = await run(await create(), CODE.hello);
      expect(end).to.include({ stdout: 'out\n', stderr: 'err\n', exitCode: 3, outOfMemory: false });
      expect(end.peakMemoryBytes).to.be.greaterThan(0);
      expect(opened.cgroups()).to.deep.equal([]);
    });

    it('hands on standard input, an event and files', async () => {
      expect(await run(await create(), CODE.echo, { stdin: Buffer.from('abc') })).to.include({ stdout: 'abc' });
      expect(await run(await create(), CODE.event, { event: '{"n": 41}' })).to.include({ stdout: '', result: '42\n' });
      const file = { path: '/data/a.txt', size: 5, content: async () => Buffer.from('words') };
      expect(await run(await create(), CODE.file, { files: [file] })).to.include({ stdout: 'words' });
    });

    it('counts the signal that ended the code, as a shell does', async () => {
      expect(await run(await create(), CODE.signal)).to.include({ exitCode: 143 });
    });

    it('serves one invocation only', async () => {
      const sandbox = await create();
      await run(sandbox, CODE.hello);
      expect(await codeOf(() => run(sandbox, CODE.hello))).to.equal('internal');
    });

    it('is ended while it waits, while it runs, and twice', async () => {
      const waiting = await create();
      await waiting.destroy();
      expect(await codeOf(() => run(waiting, CODE.hello))).to.equal('unavailable');
      const busy = await create();
      const ended = run(busy, CODE.wait);
      await busy.destroy();
      await busy.destroy();
      expect(await ended).to.include({ exitCode: 137 });
      expect([waiting.wasEnded, busy.wasEnded]).to.deep.equal([true, true]);
      expect(opened.cgroups()).to.deep.equal([]);
    });

    it('tells of memory that ran out', async () => {
      expect(await run(await create(), CODE.hog, { memoryBytes: 32 * MIB })).to.include({
        outOfMemory: 'limit',
        isLost: false,
      });
    });

    it('makes many at once, and ends them all', async () => {
      const sandboxes = await Promise.all(Array.from({ length: 20 }, create));
      expect(opened.cgroups()).to.have.length(20);
      const ends = sandboxes.map((sandbox, at) => run(sandbox, at % 2 === 0 ? CODE.hello : CODE.wait));
      await Promise.all(ends.filter((_, at) => at % 2 === 0));
      await opened.runtime.destroy();
      await Promise.all(ends);
      expect(opened.cgroups()).to.deep.equal([]);
    });

    it('makes none on a node that is gone, and none for a caller that is', async () => {
      expect(await codeOf(() => opened.runtime.create(newNodeId(), LIMITS, never))).to.equal('unavailable');
      const gone = AbortSignal.abort();
      expect(await codeOf(() => opened.runtime.create(opened.node, LIMITS, gone))).to.equal('cancelled');
      expect(opened.cgroups()).to.deep.equal([]);
    });

    it('survives the end of what its sandboxes come from', async () => {
      const busy = await create();
      const ended = run(busy, CODE.wait);
      if (!(await opened.crash())) {
        await busy.destroy();
        await ended;
        return;
      }
      expect(await ended).to.include({ exitCode: 137, isLost: true });
      expect(busy.wasEnded).to.equal(false);
      await eventually(
        () => opened.cgroups(),
        (names) => names.length === 0,
      );
      expect(await run(await create(), CODE.hello)).to.include({ exitCode: 3 });
    });

    it('removes what an earlier controller has left', async () => {
      const left = await create();
      const later = await opened.reopen();
      await later.prepare([opened.node]);
      if (later === opened.runtime) await left.destroy();
      await left.ended;
      expect(opened.cgroups()).to.deep.equal([]);
    });
  });
}

describe('the template of sandboxes', function () {
  this.timeout(180_000);
  before(function () {
    skipWithoutSystem(this);
  });

  it('is replaced when it is stopped, and takes along what hangs on it', async () => {
    const opened = await openTemplate();
    try {
      const waiting = await opened.runtime.create(opened.node, LIMITS, never);
      for (const pid of await opened.launchers()) process.kill(pid, 'SIGSTOP');
      const another = await opened.runtime.create(opened.node, LIMITS, never);
      expect(await waiting.ended).to.include({ isLost: true });
      await another.destroy();
    } finally {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    }
  });

  it('is replaced after some forks, and ends with the last of its own', async () => {
    const opened = await openTemplate({ forks: 2, ms: 60_000 });
    try {
      const create = (): Promise<Sandbox> => opened.runtime.create(opened.node, LIMITS, never);
      const first = await create();
      const [old] = await opened.launchers();
      await create().then((one) => one.destroy());
      await eventually(
        () => opened.launchers(),
        (pids) => pids.length === 2,
      );
      await create().then((one) => one.destroy());
      expect(await opened.launchers(), 'the first one still lives').to.include(old);
      await first.destroy();
      await eventually(
        () => opened.launchers(),
        (pids) => pids.length <= 2 && !pids.includes(old ?? 0),
      );
      await create().then((one) => one.destroy());
    } finally {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    }
  });
});
