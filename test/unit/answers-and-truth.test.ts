/** What was answered as failed is not there later, and what is there was answered as done. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { awaitInstance, lockInstance, type InstanceLock } from '../../controller/host/instance-lock.js';
import { createLoop } from '../../controller/host/loop.js';
import { somebodyListens } from '../../controller/edge/server.js';
import { FsUseCases } from '../../controller/vfs/use-cases.js';
import { FsUpkeep } from '../../controller/vfs/upkeep.js';
import { systemClock } from '../../shared/async/clock.js';
import { LOCK_FILE } from '../../shared/config/instance.js';
import { MIB } from '../../shared/limits.js';
import { createLogger } from '../../shared/log.js';
import { codeOf, errorOf } from '../support/codes.js';
import { eventually } from '../support/cluster.js';
import { FileBench } from '../support/files.js';
import { NODE_REQUEST, NodeBench } from '../support/nodes.js';

const log = createLogger('test', 'silent');
const never = new AbortController().signal;

/** The method fails from now on. */
function fail(on: object, method: string): void {
  Object.defineProperty(on, method, { value: () => Promise.reject(new Error(`${method} was told to fail`)) });
}

describe('a commit and its answer', () => {
  it('agree for an upload whose copies could not be counted afterwards', async () => {
    const bench = new FileBench();
    fail(bench.files.catalogue, 'locate');
    const file = await bench.storeFile(1, 2);
    expect((await bench.store.files.getFile(file.id))?.status).to.equal('ready');
    expect(bench.kicks, 'deletions that were due').to.be.greaterThan(0);
  });

  it('agree for a folder whose content could not all be taken away afterwards', async () => {
    const bench = new FileBench();
    const upkeep = new FsUpkeep(bench.deps, () => undefined);
    const fs = new FsUseCases(bench.deps, bench.files.uploads, () => undefined, upkeep);
    await fs.makeFolder('ann', ['a', 'b'], true);
    fail(bench.deps.fs, 'reap');
    await fs.remove('ann', ['a'], true);
    expect(await codeOf(() => fs.stat('ann', ['a']))).to.equal('not_found');
  });

  it('agree for a node whose new limits could not be stored: it keeps the old ones', async () => {
    const bench = await NodeBench.open();
    try {
      const node = await bench.service.create(NODE_REQUEST, never);
      bench.script.failNext('store.update');
      expect(await codeOf(() => bench.service.resize(node.id, { memoryMb: 128 }))).to.equal('internal');
      expect(bench.runtime.containers.get(node.id)?.spec.limits.memoryBytes).to.equal(64 * MIB);
      expect(bench.context.registry.get(node.id)?.memoryMb).to.equal(64);
    } finally {
      await bench.dispose();
    }
  });
});

describe('a loop', () => {
  it('can be wired and kicked before it runs', async () => {
    let runs = 0;
    const work = (): Promise<void> => {
      runs += 1;
      return Promise.resolve();
    };
    const loop = createLoop('test', 60_000, work, { clock: systemClock, log });
    loop.kick();
    expect(runs).to.equal(0);
    loop.start();
    loop.kick();
    await eventually(
      () => runs,
      (count) => count === 2,
    );
    await loop.close();
  });

  it('that was never started ends at once', async () => {
    const loop = createLoop('test', 1, () => Promise.reject(new Error('it ran')), { clock: systemClock, log });
    await loop.close();
  });
});

describe('a controller that starts while another has the state folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-lock-'));
  const socket = join(folder, 'admin.sock');
  const isServing = (): Promise<boolean> => somebodyListens(socket);
  const start = (): Promise<InstanceLock> =>
    awaitInstance({ stateDir: folder, instance: 'locked', isServing, clock: systemClock, log });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  it('waits for one that is ending, which serves no more', async () => {
    const ending = lockInstance(folder, 'locked');
    let isReleased = false;
    const starting = start().then((lock) => {
      expect(isReleased).to.equal(true);
      return lock;
    });
    setTimeout(() => {
      isReleased = true;
      ending.release();
    }, 150);
    (await starting).release();
  });

  it('is refused at once by one that serves', async () => {
    const lock = lockInstance(folder, 'locked');
    const server = createServer().listen(socket);
    await once(server, 'listening');
    expect(await codeOf(start)).to.equal('already_exists');
    server.close();
    lock.release();
  });

  it('says which file to remove where the lock is damaged', async () => {
    writeFileSync(join(folder, LOCK_FILE), 'something else wrote here, over the first page of the file'.repeat(200));
    const refused = await errorOf(start);
    expect(refused.code).to.equal('data_loss');
    expect(refused.message)
      .to.include(`${join(folder, LOCK_FILE)} is damaged`)
      .and.to.include('remove it');
  });
});
