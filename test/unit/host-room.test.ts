/** How much of what sparse volumes promise the host can keep, and when its disk is called full. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { HostRoom, planLimits, roomWarning, type DiskRoom } from '../../controller/host/room.js';
import type { NodeId } from '../../shared/ids.js';
import { GIB, MIB } from '../../shared/limits.js';
import { nodeId } from '../support/records.js';

const volume = (number: number, unallocatedBytes: number): { nodeId: NodeId; unallocatedBytes: number } => ({
  nodeId: nodeId(number),
  unallocatedBytes,
});
const disk = (change: Partial<DiskRoom> = {}): DiskRoom => ({
  places: ['state', 'volumes'],
  path: '/var/lib/nexus',
  totalBytes: 40 * GIB,
  freeBytes: 20 * GIB,
  totalInodes: 1000,
  freeInodes: 900,
  ...change,
});

describe("the room of the host's disk", () => {
  it('limits no volume while it has what all of them promise', () => {
    expect(planLimits(3 * GIB, [volume(1, GIB), volume(2, GIB)])).to.have.property('size', 0);
  });

  it('is shared by the volumes that still want some of it, and promised once', () => {
    const limits = planLimits(264 * MIB, [volume(1, GIB), volume(2, GIB), volume(3, 0)]);
    expect([...limits]).to.deep.equal([
      [nodeId(1), 100 * MIB],
      [nodeId(2), 100 * MIB],
    ]);
    expect([...planLimits(10 * MIB, [volume(1, GIB)]).values()]).to.deep.equal([0]);
  });

  it('is warned of before it ends, in bytes and in inodes, and not on a large disk that has plenty', () => {
    expect(roomWarning(disk(), 90)).to.deep.equal([]);
    expect(roomWarning(disk({ totalBytes: 400 * GIB, freeBytes: 12 * GIB }), 90)).to.deep.equal([]);
    const [bytes = ''] = roomWarning(disk({ freeBytes: 3 * GIB }), 90);
    expect(bytes)
      .to.include("the host's disk under /var/lib/nexus (state, volumes) is 92 % full")
      .and.include('make room');
    const [inodes = ''] = roomWarning(disk({ freeInodes: 50 }), 90);
    expect(inodes).to.include('95 % of its inodes');
    expect(roomWarning(disk({ totalInodes: 0, freeInodes: 0 }), 90)).to.deep.equal([]);
  });

  it('is measured once for places on one file system, and not where nothing is yet', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nexus-room-'));
    try {
      const image = join(folder, 'a.img');
      writeFileSync(image, '');
      truncateSync(image, 2 ** 43);
      const room = new HostRoom({
        places: { state: folder, volumes: folder, runtime: join(folder, 'absent') },
        volumes: () => [
          { nodeId: nodeId(1), path: image },
          { nodeId: nodeId(2), path: join(folder, 'absent') },
        ],
        fullPercent: 99,
      });
      expect(room.of(nodeId(1))).to.equal(Infinity);
      await room.tick();
      expect(room.disks.map(({ places }) => places)).to.deep.equal([['state', 'volumes']]);
      expect(room.of(nodeId(1))).to.be.below(2 ** 43);
      expect(room.of(nodeId(2))).to.equal(Infinity);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
