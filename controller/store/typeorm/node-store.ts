/** Nodes. The unique indexes on name and slot decide between concurrent creations. */
import type { EntityManager } from 'typeorm';
import type { NodeId } from '../../../shared/ids.js';
import type { HostingRecord } from '../../hosting/record.js';
import { NodeEntity, type NodeRow } from './entities.js';
import type { NodePatch, NodeRecord, NodeStore } from '../port/store.js';
import { lowestFreeSlot, nameTaken, noSuchNode, slotTaken } from '../port/node-rules.js';
import type { Database } from './database.js';

export class TypeormNodeStore implements NodeStore {
  constructor(private readonly database: Database) {}

  reserve(
    slots: number,
    make: (slot: number) => NodeRecord,
    held: ReadonlySet<number> = new Set(),
  ): Promise<NodeRecord> {
    return this.database.write(async (manager) => {
      const used = await manager.find(NodeEntity, { select: { slot: true } });
      const record = make(lowestFreeSlot([...used.map((node) => node.slot), ...held], slots));
      await insert(manager, record);
      return record;
    });
  }

  insert(record: NodeRecord): Promise<void> {
    return this.database.write(async (manager) => {
      if (await manager.existsBy(NodeEntity, { slot: record.hosting.slot })) throw slotTaken(record.hosting.slot);
      await insert(manager, record);
    });
  }

  async get(id: NodeId): Promise<NodeRecord | undefined> {
    return (await this.database.read((manager) => find(manager, id))) ?? undefined;
  }

  list(): Promise<readonly NodeRecord[]> {
    return this.database.read(async (manager) =>
      (await manager.find(NodeEntity, { order: { slot: 'ASC' } })).map(nodeRecord),
    );
  }

  update(id: NodeId, patch: NodePatch): Promise<NodeRecord> {
    return this.database.write(async (manager) => {
      const before = await find(manager, id);
      if (before === null) throw noSuchNode(id);
      const after = { ...before, ...patch };
      if (Object.keys(patch).length > 0) await manager.update(NodeEntity, { id }, nodeRow(after));
      return after;
    });
  }

  async remove(id: NodeId): Promise<void> {
    await this.database.write((manager) => manager.delete(NodeEntity, { id }));
  }
}

async function insert(manager: EntityManager, record: NodeRecord): Promise<void> {
  if (await manager.existsBy(NodeEntity, { name: record.name })) throw nameTaken(record.name);
  await manager.insert(NodeEntity, nodeRow(record));
}

async function find(manager: EntityManager, id: NodeId): Promise<NodeRecord | null> {
  const row = await manager.findOneBy(NodeEntity, { id });
  return row === null ? null : nodeRecord(row);
}

/** Converts a node to its row. */
export function nodeRow({ hosting, ...common }: NodeRecord): NodeRow {
  const { slot, ...facts } = hosting;
  return { ...common, slot, hosting: JSON.stringify(facts) };
}

const nodeRecord = ({ slot, hosting, ...common }: NodeRow): NodeRecord => ({
  ...common,
  hosting: { ...(JSON.parse(hosting) as Omit<HostingRecord, 'slot'>), slot } as HostingRecord,
});
