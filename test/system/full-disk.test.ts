/**
 * Everything acknowledged is there, and nothing that was refused, while the disks under its state and under its
 * volumes fill up and are freed at random moments: without a restart, and after one. NEXUS_PROMISES_SEED repeats a run.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually, TestCluster, type NodeJson } from '../support/cluster.js';
import { randomPauses, Writers } from '../support/promises.js';
import { SmallDisk } from '../support/small-disk.js';
import { skipWithoutSystem } from '../support/system.js';

const TIMES = 10;
/** An image, logs and the databases lie on it. */
const STATE_MB = 140;
/** Volumes may promise what is beyond a reserve. */
const VOLUMES_MB = 512;
/** Attempts to mend a volume that met a full disk are 15 s apart, and one node follows the other. */
const WELL_WITHIN_MS = 240_000;

describe('a cluster whose disks are full at random moments', function () {
  this.timeout(600_000);
  const folder = mkdtempSync(join(tmpdir(), 'nexus-full-'));
  let disk: SmallDisk | undefined;
  let volumes: SmallDisk | undefined;
  let cluster: TestCluster | undefined;

  before(async function () {
    skipWithoutSystem(this);
    const env: Record<string, string> = {};
    cluster = new TestCluster({ env });
    disk = new SmallDisk(join(folder, 'disk'), STATE_MB);
    volumes = new SmallDisk(join(folder, 'volumes'), VOLUMES_MB);
    env['NEXUS_STATE_DIR'] = join(disk.path, 'state');
    mkdirSync(env['NEXUS_STATE_DIR']);
    symlinkSync(volumes.path, join(env['NEXUS_STATE_DIR'], 'volumes'));
    await cluster.startController();
  });
  after(async () => {
    // A purge is the way to room: it needs none itself.
    disk?.fill();
    const left = await cluster?.dispose().finally(() => {
      disk?.remove();
      volumes?.remove();
      rmSync(folder, { recursive: true, force: true });
    });
    expect(left ?? [], 'left on the host').to.deep.equal([]);
  });

  it('keeps what it acknowledged, and nothing else', async () => {
    if (cluster === undefined || disk === undefined || volumes === undefined) throw new Error('the cluster is not up');
    const on = cluster;
    const { path } = disk;
    const pid = cluster.controllerPid;
    const between = randomPauses();
    await cluster.ok('node', 'create', 'first', '--mem', '64', '--storage', '64M');
    const warnings = async () => (await on.json<{ warnings: string[] }>('status')).warnings;
    const warnsOfDisk = (seen: string[]): boolean =>
      seen.some((text) => text.includes(`disk under ${path}/state (state`));
    expect((await warnings()).filter((text) => text.includes("the host's disk"))).to.deep.equal([]);
    await using writers = new Writers(cluster, 3);
    await writers.start();
    for (let time = 0; time < TIMES; time += 1) {
      await between(100, 800);
      disk.fill();
      if (time === 0) await eventually(() => warnings(), warnsOfDisk);
      await between(100, 800);
      volumes.fill();
      await between(100, 800);
      disk.free();
      await between(100, 800);
      volumes.free();
    }
    await between(500, 1000);
    await writers.stop();
    expect(writers.folders.refused.size, 'writes that were refused').to.be.above(0);
    const probe = join(cluster.folder, 'probe');
    writeFileSync(probe, 'written to all');
    const look = async () => {
      const nodes = await on.json<NodeJson[]>('node', 'ls');
      const states = nodes.map(({ name, status, volume_state }) => `${name} ${status} ${volume_state}`);
      const upload = await on.run('file', 'upload', probe, '--replicas', String(nodes.length), '-o', 'json');
      return { states, upload };
    };
    // By itself: no restart, of the cluster or by hand of a node. Each takes a copy: what a full disk has done to a volume
    // may be seen as late as by the next write.
    const { upload } = await eventually(
      look,
      ({ states, upload: { code } }) => states.every((state) => state.endsWith(' Running ok')) && code === 0,
      WELL_WITHIN_MS,
    );
    await writers.check(['first']);
    await cluster.ok('file', 'rm', (JSON.parse(upload.stdout) as { id: string }).id);
    await eventually(warnings, (seen) => !warnsOfDisk(seen));
    expect(cluster.controllerPid).to.equal(pid);
    await cluster.killController('SIGKILL');
    await cluster.startController();
    await writers.check(['first']);
  });
});
