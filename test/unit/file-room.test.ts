import { expect } from 'chai';
import { FakeNodes } from '../fakes/storage-nodes.js';
import { Room } from '../../controller/file/room.js';
import type { ChunkId } from '../../shared/ids.js';
import { nodeId } from '../support/records.js';

describe('room on the nodes', () => {
  const nodes = new FakeNodes(2);
  nodes.change(nodeId(0), { freeBytes: 1000, reportedAt: 50 });
  nodes.change(nodeId(1), { freeBytes: 1000, reportedAt: 50, schedulable: false });
  const copy = (size: number, at: number) => ({ chunkId: 'c'.repeat(32) as ChunkId, nodeId: nodeId(0), size, at });
  const freeOf = (room: Room, nowMs: number, promised = new Map()): number[] =>
    room.candidates(nodes.snapshot(), promised, nowMs).map((node) => node.freeBytes);

  it('is what was reported, less what is promised and what was stored since', () => {
    const room = new Room();
    room.note([copy(100, 60)], 60);
    expect(freeOf(room, 60, new Map([[nodeId(1), 7]]))).to.deep.equal([900, 993]);
  });

  it('counts a copy once, however often its receipt comes', () => {
    const room = new Room();
    room.note([copy(100, 60)], 60);
    room.note([copy(100, 60)], 60);
    expect(freeOf(room, 60)[0]).to.equal(900);
  });

  it('holds nothing back that the report shows', () => {
    const room = new Room();
    room.note([copy(100, 50)], 60);
    expect(freeOf(room, 60)[0]).to.equal(1000);
  });

  it('holds nothing back for ever, whatever an agent takes for the time', () => {
    for (const at of [60, Number.MAX_VALUE]) {
      const room = new Room();
      room.note([copy(100, at)], 60);
      expect(freeOf(room, 60_000)[0]).to.equal(900);
      expect(freeOf(room, 60_061)[0]).to.equal(1000);
    }
  });
});
