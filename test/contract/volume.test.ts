/** What every kind of volume keeps: it is made once, never while somebody has it, and goes without a trace. */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ImageFileVolumes } from '../../controller/hosting/contained/image-file.js';
import { LoopRemover } from '../../controller/hosting/contained/loop-remover.js';
import type { VolumeProvisioner, VolumeSpec } from '../../controller/hosting/volumes.js';
import { runCommand, tryCommand } from '../../shared/exec.js';
import { newNodeId, type NodeId } from '../../shared/ids.js';
import { GIB, MIB } from '../../shared/limits.js';
import { codeOf, errorOf } from '../support/codes.js';
import { residueOf, testInstance } from '../support/residue.js';
import { skipWithoutSystem } from '../support/system.js';
import { VOLUMES, type OpenedVolumes } from '../support/volumes.js';

const never = new AbortController().signal;

for (const { name, needsRoot, usesLoopDevices, open } of VOLUMES) {
  describe(`volumes, ${name}`, function () {
    this.timeout(180_000);
    let opened: OpenedVolumes;
    let volumes: VolumeProvisioner;
    let device: number;
    let ids: NodeId[];

    before(function () {
      if (needsRoot) skipWithoutSystem(this);
    });
    beforeEach(async () => {
      opened = await open();
      ({ volumes } = opened);
      device = opened.loopBase;
      ids = [];
    });
    afterEach(async () => {
      await opened.releaseAll();
      for (const id of ids) await volumes.remove({ nodeId: id, loopDevice: device });
      expect(await opened.dispose(), 'left on the host').to.deep.equal([]);
    });

    const specOf = (change: Partial<VolumeSpec> = {}): VolumeSpec => {
      const spec = { nodeId: newNodeId(), sizeBytes: 64 * MIB, uuid: randomUUID(), ...change };
      ids.push(spec.nodeId);
      return spec;
    };
    const create = async (): Promise<VolumeSpec> => {
      const spec = specOf();
      await volumes.create(spec, never);
      return spec;
    };

    it('are made, free at first, each at a path of its own', async () => {
      const one = await create();
      const other = await create();
      expect(opened.stored()).to.have.length(2);
      expect(volumes.pathOf(one.nodeId)).to.not.equal(volumes.pathOf(other.nodeId));
      await volumes.assertFree({ nodeId: one.nodeId, loopDevice: device });
      await volumes.waitReleased({ nodeId: one.nodeId, loopDevice: device });
    });

    it('are made several at once', async () => {
      const specs = Array.from({ length: 5 }, () => specOf());
      await Promise.all(specs.map((spec) => volumes.create(spec, never)));
      expect(opened.stored()).to.have.length(5);
    });

    it('are not made over one that exists, which stays', async () => {
      const { nodeId } = await create();
      expect(await codeOf(() => volumes.create(specOf({ nodeId }), never))).to.equal('already_exists');
      await volumes.assertFree({ nodeId, loopDevice: device });
    });

    it('are not made larger than the disk has room for', async () => {
      const { folder, freeBytes } = await volumes.room();
      const error = await errorOf(() => volumes.create(specOf({ sizeBytes: freeBytes + GIB }), never));
      expect(error.code).to.equal('resource_exhausted');
      expect(error.message).to.include(folder);
      expect(opened.stored()).to.deep.equal([]);
    });

    it('leave nothing after a creation that was called off and removed', async () => {
      const spec = specOf();
      await codeOf(() => volumes.create(spec, AbortSignal.abort()));
      await volumes.remove({ nodeId: spec.nodeId, loopDevice: device });
      expect(opened.stored()).to.deep.equal([]);
    });

    it('are removed twice, and when they never were; others stay', async () => {
      const { nodeId } = await create();
      const other = await create();
      await volumes.remove({ nodeId, loopDevice: device });
      await volumes.remove({ nodeId, loopDevice: device });
      await volumes.remove({ nodeId: newNodeId(), loopDevice: device });
      expect(opened.stored()).to.have.length(1);
      await volumes.assertFree({ nodeId: other.nodeId, loopDevice: device });
    });

    it('can be made anew after the removal', async () => {
      const { nodeId } = await create();
      await volumes.remove({ nodeId, loopDevice: device });
      await volumes.create(specOf({ nodeId }), never);
      await volumes.assertFree({ nodeId, loopDevice: device });
    });

    it('are described, anew in place of before, until they are removed', async () => {
      const one = await create();
      const other = await create();
      await volumes.describe(one.nodeId, 'first');
      await volumes.describe(one.nodeId, 'second');
      expect(await volumes.described()).to.deep.equal([{ nodeId: one.nodeId, card: 'second' }]);
      await volumes.describe(other.nodeId, 'other');
      expect((await volumes.described()).map(({ nodeId }) => nodeId)).to.deep.equal([one.nodeId, other.nodeId].sort());
      await volumes.remove({ nodeId: one.nodeId, loopDevice: device });
      expect(await volumes.described()).to.deep.equal([{ nodeId: other.nodeId, card: 'other' }]);
      expect(await codeOf(() => volumes.describe(one.nodeId, 'late'))).to.equal('data_loss');
      await volumes.remove({ nodeId: other.nodeId, loopDevice: device });
    });

    it('that are gone are not free for use', async () => {
      expect(await codeOf(() => volumes.assertFree({ nodeId: newNodeId(), loopDevice: device }))).to.equal('data_loss');
    });

    it('have some room on this machine', async () => {
      expect((await volumes.room()).freeBytes).to.be.greaterThan(64 * MIB);
    });

    if (usesLoopDevices) {
      it('are not free while they are attached, wherever that is', async () => {
        const { nodeId } = await create();
        for (const held of [device, device + 1]) {
          await opened.hands.attach(held, nodeId);
          expect(await codeOf(() => volumes.assertFree({ nodeId, loopDevice: device }))).to.equal(
            'failed_precondition',
          );
          await opened.hands.release(held);
        }
        await volumes.assertFree({ nodeId, loopDevice: device });
        await volumes.remove({ nodeId, loopDevice: device + 1 });
      });

      it('are not free while something else has their device', async () => {
        const { nodeId } = await create();
        await opened.hands.attachForeign(device);
        expect(await codeOf(() => volumes.assertFree({ nodeId, loopDevice: device }))).to.equal('failed_precondition');
      });

      it('are waited for until they are let go', async () => {
        const { nodeId } = await create();
        await opened.hands.attach(device, nodeId);
        let isReleased = false;
        const waiting = volumes.waitReleased({ nodeId, loopDevice: device }).then(() => (isReleased = true));
        // As long as a look at another device takes, which is answered at once.
        await volumes.waitReleased({ nodeId, loopDevice: device + 1 });
        expect(isReleased).to.equal(false);
        await opened.hands.release(device);
        await waiting;
        await volumes.assertFree({ nodeId, loopDevice: device });
      });

      it('are not waited for when something else has their device', async () => {
        const { nodeId } = await create();
        await opened.hands.attachForeign(device);
        await volumes.waitReleased({ nodeId, loopDevice: device });
      });
    }

    if (name === 'image file') {
      it('are not taken for a file with the same number on another file system', async () => {
        const instance = testInstance();
        const folder = await mkdtemp(join(tmpdir(), `nexus-${instance}-`));
        const places = [join(folder, 'one'), join(folder, 'other')];
        const { nodeId, sizeBytes, uuid } = specOf();
        const made: ImageFileVolumes[] = [];
        try {
          for (const place of places) {
            await mkdir(place);
            await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=1g', instance, place]);
            const there = new ImageFileVolumes(place);
            await there.create({ nodeId, sizeBytes, uuid }, never);
            made.push(there);
          }
          const [one, other] = made as [ImageFileVolumes, ImageFileVolumes];
          expect((await stat(one.pathOf(nodeId))).ino).to.equal((await stat(other.pathOf(nodeId))).ino);
          await runCommand('losetup', [`/dev/loop${device + 1}`, other.pathOf(nodeId)]);
          await one.assertFree({ nodeId, loopDevice: device });
          expect(await codeOf(() => other.assertFree({ nodeId, loopDevice: device }))).to.equal('failed_precondition');
        } finally {
          await tryCommand('losetup', ['--detach', `/dev/loop${device + 1}`]);
          for (const volume of made) {
            await volume.remove({ nodeId, loopDevice: device + 1 });
            await volume.settled();
          }
          for (const place of places) await tryCommand('umount', [place]);
          await rm(folder, { recursive: true });
        }
        expect(residueOf(instance)).to.deep.equal([]);
      });

      const isThere = (loopDevice: number): boolean => existsSync(`/sys/block/loop${loopDevice}`);

      it('take their devices along soon after they were let go, several at once', async () => {
        const devices = [0, 1, 2, 3].map((offset) => device + offset);
        const { nodeId } = await create();
        for (const loopDevice of devices) {
          await opened.hands.attach(loopDevice, nodeId);
          await opened.hands.release(loopDevice);
        }
        expect(devices.every(isThere)).to.equal(true);
        for (const loopDevice of devices) await volumes.waitReleased({ nodeId, loopDevice });
        await volumes.settled();
        expect(devices.some(isThere)).to.equal(false);
      });

      it('are free only when the removal of their device is over', async () => {
        const { nodeId } = await create();
        await opened.hands.attach(device, nodeId);
        await opened.hands.release(device);
        await volumes.waitReleased({ nodeId, loopDevice: device });
        await volumes.assertFree({ nodeId, loopDevice: device });
        expect(isThere(device)).to.equal(false);
        await opened.hands.attach(device, nodeId);
        await opened.hands.release(device);
      });

      it('let their devices go even if what removes them was killed', async () => {
        const { nodeId } = await create();
        const remover = new LoopRemover();
        const others = childrenCalled('perl');
        await opened.hands.attach(device, nodeId);
        await opened.hands.release(device);
        await remover.remove(device);
        const helpers = childrenCalled('perl').filter((pid) => !others.includes(pid));
        expect(helpers, 'it waits for the next one').to.have.length(1);
        for (const pid of helpers) process.kill(pid, 'SIGKILL');
        await opened.hands.attach(device, nodeId);
        await opened.hands.release(device);
        await remover.remove(device);
        await remover.remove(device);
        expect(isThere(device)).to.equal(false);
      });

      it('are sparse ext4 file systems with the UUID that was given, for their owner alone', async () => {
        const { nodeId, uuid, sizeBytes } = await create();
        const { stdout } = spawnSync('dumpe2fs', ['-h', volumes.pathOf(nodeId)], { encoding: 'utf8' });
        expect(stdout).to.include(uuid);
        expect(Number(/Block count:\s+(\d+)/.exec(stdout)?.[1]) * blockSize(stdout)).to.equal(sizeBytes);
        expect(await opened.takenBytes(nodeId)).to.be.below(sizeBytes / 4);
      });
    }
  });
}

const blockSize = (header: string): number => Number(/Block size:\s+(\d+)/.exec(header)?.[1]);

/** Pids of this process's children that run the program. */
const childrenCalled = (program: string): number[] =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .map(Number)
    .filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === program);
