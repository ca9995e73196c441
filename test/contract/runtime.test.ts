/** What every container runtime keeps: its order, what may be done twice, and that a removal leaves nothing. */
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { isAlive } from '../../controller/host/process-identity.js';
import { newNodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { eventually } from '../support/cluster.js';
import { codeOf } from '../support/codes.js';
import { execSpec } from '../support/commands.js';
import { createIn, RUNTIMES, startIn, type CreatedContainer, type OpenedRuntime } from '../support/runtimes.js';
import { skipWithoutSystem } from '../support/system.js';

const never = new AbortController().signal;

for (const { name, needsRoot, open } of RUNTIMES) {
  describe(`container runtime, ${name}`, function () {
    this.timeout(180_000);
    let opened: OpenedRuntime;
    let runtime: OpenedRuntime['runtime'];

    before(function () {
      if (needsRoot) skipWithoutSystem(this);
    });
    beforeEach(async () => {
      opened = await open();
      runtime = opened.runtime;
      await runtime.prepare();
    });
    afterEach(async () => {
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    });

    const create = (): Promise<CreatedContainer> => createIn(opened);
    const createAndStart = (): Promise<CreatedContainer> => startIn(opened);

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
      it('is there after its creation, and is the same process after its start', async () => {
        const { id, identity } = await create();
        expect(isAlive(identity)).to.equal(true);
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
        expect(await codeOf(() => runtime.exec(nodeId, execSpec(['cat'])))).to.equal('not_found');
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
    });

    it('serves several nodes at once', async () => {
      const made = await Promise.all(Array.from({ length: 4 }, () => createAndStart()));
      expect([...(await runtime.list())].sort()).to.deep.equal(made.map(({ id }) => id).sort());
      await Promise.all(made.map(({ id }) => runtime.remove(id)));
      expect(await runtime.list()).to.deep.equal([]);
    });

    it('prepares anew after everything was disposed of', async () => {
      const { id } = await createAndStart();
      await runtime.remove(id);
      await runtime.destroy();
      await runtime.destroy();
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
