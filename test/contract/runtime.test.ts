/** What every container runtime keeps: its order, what may be done twice, and that a removal leaves nothing. */
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { isAlive } from '../../controller/host/process-identity.js';
import type { FakeProgram } from '../../controller/runtime/fake-exec.js';
import type { ContainerSpec, ExecHandle, ExecSpec, ProcessIdentity } from '../../controller/runtime/port.js';
import { newNodeId, type NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';
import { codeOf } from '../support/codes.js';
import { RUNTIMES, type OpenedRuntime } from '../support/runtimes.js';
import { skipWithoutSystem } from '../support/system.js';

/** What a shell makes of the suite's commands, for the runtime in memory. */
const SAY_AND_FAIL = 'echo out; echo err >&2; exit 3';
const PROGRAMS: ReadonlyMap<string, FakeProgram> = new Map<string, FakeProgram>([
  [
    `sh -c ${SAY_AND_FAIL}`,
    async ({ say }) => {
      await say('stdout', 'out\n');
      await say('stderr', 'err\n');
      return 3;
    },
  ],
  [
    'cat',
    async ({ input, say }) => {
      for await (const piece of input) await say('stdout', piece);
      return 0;
    },
  ],
  [
    'sh -c echo "$GREETING"',
    async ({ spec, say }) => {
      await say('stdout', `${spec.env['GREETING'] ?? ''}\n`);
      return 0;
    },
  ],
  ['sleep 250', () => new Promise<number>(() => undefined)],
]);

const never = new AbortController().signal;

for (const { name, needsRoot, open } of RUNTIMES) {
  describe(`container runtime, ${name}`, function () {
    this.timeout(60_000);
    let opened: OpenedRuntime;
    let runtime: OpenedRuntime['runtime'];

    before(function () {
      if (needsRoot) skipWithoutSystem(this);
    });
    beforeEach(async () => {
      opened = await open(PROGRAMS);
      runtime = opened.runtime;
      await runtime.prepare();
    });
    afterEach(async () => {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    });

    const create = async (): Promise<{ spec: ContainerSpec; id: NodeId; identity: ProcessIdentity }> => {
      const spec = await opened.newSpec();
      return { spec, id: spec.nodeId, identity: await runtime.create(spec, never) };
    };
    const createAndStart = async (): ReturnType<typeof create> => {
      const created = await create();
      await runtime.start(created.id, never);
      await eventually(
        () => opened.runsFirstStage(created.id, created.identity),
        (runs) => runs,
      );
      return created;
    };
    const execSpec = (change: Partial<ExecSpec>): ExecSpec => ({
      command: ['cat'],
      tty: false,
      columns: 80,
      rows: 24,
      env: {},
      uid: 0,
      workingDir: '/',
      ...change,
    });
    const collect = (handle: ExecHandle): { stdout: string; stderr: string } => {
      const output = { stdout: '', stderr: '' };
      handle.onOutput(async (stream, data) => {
        output[stream] += data.toString('utf8');
      });
      return output;
    };

    describe('preparing', () => {
      it('may be done again', async () => {
        await runtime.prepare();
        const { id } = await create();
        await runtime.prepare();
        expect(await runtime.list()).to.deep.equal([id]);
      });

      it('refuses a host that lacks what it needs', async () => {
        expect(await codeOf(() => opened.unfit.prepare())).to.equal('failed_precondition');
      });
    });

    describe('a container', () => {
      it('is there after its creation, and waits for its start', async () => {
        const { id, identity } = await create();
        expect(isAlive(identity)).to.equal(true);
        expect(opened.runsFirstStage(id, identity)).to.equal(false);
        expect(await runtime.list()).to.deep.equal([id]);
        await runtime.start(id, never);
        await eventually(
          () => opened.runsFirstStage(id, identity),
          (runs) => runs,
        );
        expect(isAlive(identity), 'the same process').to.equal(true);
      });

      it('is killed at once, and once more without complaint', async () => {
        const { id, identity } = await createAndStart();
        await runtime.kill(id, identity);
        expect(isAlive(identity)).to.equal(false);
        await runtime.kill(id, identity);
      });

      it('is not killed in the place of an earlier one with the same process number', async () => {
        const { id, identity } = await createAndStart();
        await runtime.kill(id, { pid: identity.pid, startTicks: '1' });
        expect(isAlive(identity)).to.equal(true);
      });

      it('is listed living or dead, also by the next controller', async () => {
        const living = await createAndStart();
        const dead = await createAndStart();
        await runtime.kill(dead.id, dead.identity);
        const both = [living.id, dead.id].sort();
        expect([...(await runtime.list())].sort()).to.deep.equal(both);
        expect([...(await (await opened.reopen()).list())].sort()).to.deep.equal(both);
        expect(isAlive(living.identity)).to.equal(true);
      });

      it('that is not there cannot be started, limited or asked for a command, and nothing comes of the attempt', async () => {
        const { nodeId } = await opened.newSpec();
        const limits = { memoryBytes: 64 * MIB, cpuWeight: 100, pids: 32 };
        expect(await codeOf(() => runtime.start(nodeId, never))).to.equal('not_found');
        expect(await codeOf(() => runtime.exec(nodeId, execSpec({})))).to.equal('not_found');
        const updated = await codeOf(() => runtime.update(nodeId, limits));
        expect(updated).to.equal(opened.isContained ? 'not_found' : 'failed_precondition');
        expect(await runtime.wasOutOfMemory(nodeId)).to.equal(false);
        expect(opened.leftOf(nodeId)).to.deep.equal([]);
      });

      it('takes new limits, or the runtime says that it has none', async () => {
        const { id } = await createAndStart();
        const limits = { memoryBytes: 96 * MIB, cpuWeight: 200, pids: 48 };
        const expected = opened.isContained ? 'accepted' : 'failed_precondition';
        expect(await codeOf(() => runtime.update(id, limits))).to.equal(expected);
        expect(runtime.caveats.length > 0, 'and tells people beforehand').to.equal(!opened.isContained);
      });

      it('was not out of memory when it was killed by hand', async () => {
        const { id, identity } = await createAndStart();
        await runtime.kill(id, identity);
        expect(await runtime.wasOutOfMemory(id)).to.equal(false);
      });
    });

    describe('removing', () => {
      it('leaves nothing of a running container, and may be done twice', async () => {
        const { id, identity } = await createAndStart();
        expect(opened.leftOf(id)).to.not.deep.equal([]);
        await runtime.remove(id);
        expect(isAlive(identity)).to.equal(false);
        expect(opened.leftOf(id)).to.deep.equal([]);
        expect(await runtime.list()).to.deep.equal([]);
        await runtime.remove(id);
      });

      it('leaves nothing of one that was never started, of a dead one, and of one that never was', async () => {
        const created = await create();
        const dead = await createAndStart();
        await runtime.kill(dead.id, dead.identity);
        for (const id of [created.id, dead.id, newNodeId()]) {
          await runtime.remove(id);
          expect(opened.leftOf(id)).to.deep.equal([]);
        }
        expect(isAlive(created.identity)).to.equal(false);
        expect(await runtime.list()).to.deep.equal([]);
      });

      it('leaves nothing of a creation that was called off', async () => {
        const spec = await opened.newSpec();
        await codeOf(() => runtime.create(spec, AbortSignal.abort()));
        await runtime.remove(spec.nodeId);
        expect(opened.leftOf(spec.nodeId)).to.deep.equal([]);
      });

      it('is done by the next controller, too, and others stay', async () => {
        const one = await createAndStart();
        const other = await createAndStart();
        await (await opened.reopen()).remove(one.id);
        expect(isAlive(one.identity)).to.equal(false);
        expect(isAlive(other.identity)).to.equal(true);
        expect(await runtime.list()).to.deep.equal([other.id]);
      });

      it('makes room for a new container of the same node', async () => {
        const first = await createAndStart();
        await runtime.remove(first.id);
        const identity = await runtime.create(first.spec, never);
        await runtime.start(first.id, never);
        expect(isAlive(identity)).to.equal(true);
      });

      it('ends the commands that run in it', async () => {
        const { id } = await createAndStart();
        const handle = await runtime.exec(id, execSpec({ command: ['sleep', '250'] }));
        collect(handle);
        await runtime.remove(id);
        expect(await handle.exited).to.not.equal(0);
        expect(opened.leftOf(id)).to.deep.equal([]);
      });
    });

    it('serves several nodes at once', async () => {
      const made = await Promise.all(Array.from({ length: 4 }, () => createAndStart()));
      expect([...(await runtime.list())].sort()).to.deep.equal(made.map(({ id }) => id).sort());
      await Promise.all(made.map(({ id }) => runtime.remove(id)));
      expect(await runtime.list()).to.deep.equal([]);
    });

    describe('a command', () => {
      const run = async (change: Partial<ExecSpec>, input = ''): Promise<object> => {
        const { id } = await createAndStart();
        const handle = await runtime.exec(id, execSpec(change));
        const output = collect(handle);
        if (input !== '') await handle.write(Buffer.from(input));
        handle.endInput();
        return { code: await handle.exited, ...output };
      };

      it('has its streams apart and its exit code', async () => {
        const result = await run({ command: ['sh', '-c', SAY_AND_FAIL] });
        expect(result).to.deep.equal({ code: 3, stdout: 'out\n', stderr: 'err\n' });
      });

      it('reads what is written, to its end', async () => {
        expect(await run({ command: ['cat'] }, 'one\ntwo\n')).to.deep.include({ code: 0, stdout: 'one\ntwo\n' });
      });

      it('has its environment', async () => {
        const result = await run({ command: ['sh', '-c', 'echo "$GREETING"'], env: { GREETING: 'hello there' } });
        expect(result).to.deep.include({ code: 0, stdout: 'hello there\n' });
      });

      it('that does not exist exits with 127', async () => {
        expect(await run({ command: ['no-such-program'] })).to.deep.include({ code: 127 });
      });

      it('ends by a signal, as a shell counts', async () => {
        const { id } = await createAndStart();
        const handle = await runtime.exec(id, execSpec({ command: ['sleep', '250'] }));
        collect(handle);
        handle.signal('TERM');
        expect(await handle.exited).to.equal(143);
      });

      it('is killed with one word, and the container lives on', async () => {
        const { id, identity } = await createAndStart();
        const handle = await runtime.exec(id, execSpec({ command: ['sleep', '250'] }));
        collect(handle);
        await handle.kill();
        expect(await handle.exited).to.not.equal(0);
        expect(isAlive(identity)).to.equal(true);
      });

      it('waits for whoever takes its output', async () => {
        const { id } = await createAndStart();
        const handle = await runtime.exec(id, execSpec({ command: ['cat'] }));
        let taken = 0;
        let goOn = (): void => undefined;
        const held = new Promise<void>((resolve) => (goOn = resolve));
        handle.onOutput(async (_stream, data) => {
          taken += data.length;
          await held;
        });
        const piece = Buffer.alloc(256 * 1024);
        let isAllTaken = false;
        const written = (async () => {
          for (let count = 0; count < 8; count += 1) await handle.write(piece);
          handle.endInput();
          await handle.exited;
          isAllTaken = true;
        })();
        await eventually(
          () => taken,
          (bytes) => bytes > 0,
        );
        expect(isAllTaken, 'with output that nobody has taken').to.equal(false);
        const takenWhileHeld = taken;
        expect(takenWhileHeld).to.be.below(8 * piece.length);
        goOn();
        await written;
        expect(taken).to.equal(8 * piece.length);
      });
    });

    it('prepares anew after everything was disposed of', async () => {
      const { id } = await createAndStart();
      await runtime.remove(id);
      await runtime.dispose();
      await runtime.dispose();
      await runtime.prepare();
      expect((await create()).identity.pid).to.be.greaterThan(0);
    });

    if (name === 'runc') {
      it('sets the limits that it is given, in the kernel', async () => {
        const { id, identity } = await createAndStart();
        const limitOf = (): number => memoryLimit(identity.pid);
        expect(limitOf()).to.equal(64 * MIB);
        await runtime.update(id, { memoryBytes: 96 * MIB, cpuWeight: 200, pids: 48 });
        expect(limitOf()).to.equal(96 * MIB);
      });
    }
  });
}

/** Of the node's cgroup, the parent of the process's own. */
function memoryLimit(pid: number): number {
  const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
  const v1 = groups.find((line) => line.split(':')[1] === 'memory');
  const path = (v1 ?? groups.find((line) => line.startsWith('0::')) ?? '').split(':')[2] ?? '';
  const file =
    v1 === undefined ? `/sys/fs/cgroup${path}/../memory.max` : `/sys/fs/cgroup/memory${path}/../memory.limit_in_bytes`;
  return Number(readFileSync(file, 'utf8'));
}
