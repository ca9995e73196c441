/** Nodes. The unique indexes on name and slot are what two racing creations meet. */
import type { EntityManager } from 'typeorm';
import type { NodeId } from '../../shared/ids.js';
import { NodeEntity } from './entities.js';
import type { NodePatch, NodeRecord, NodeStore } from './port.js';
import { lowestFreeSlot, nameTaken, noSuchNode } from './node-rules.js';
import type { Database } from './typeorm-database.js';

export class TypeormNodeStore implements NodeStore {
  constructor(private readonly database: Database) {}

  reserve(slots: number, make: (slot: number) => NodeRecord): Promise<NodeRecord> {
    return this.database.write(async (manager) => {
      const used = await manager.find(NodeEntity, { select: { slot: true } });
      const record = make(
        lowestFreeSlot(
          used.map((node) => node.slot),
          slots,
        ),
      );
      if (await manager.existsBy(NodeEntity, { name: record.name })) throw nameTaken(record.name);
      await manager.insert(NodeEntity, { ...record });
      return record;
    });
  }

  async get(id: NodeId): Promise<NodeRecord | undefined> {
    return (await this.database.read((manager) => find(manager, id))) ?? undefined;
  }

  list(): Promise<readonly NodeRecord[]> {
    return this.database.read((manager) => manager.find(NodeEntity, { order: { slot: 'ASC' } }));
  }

  update(id: NodeId, patch: NodePatch): Promise<NodeRecord> {
    return this.database.write(async (manager) => {
      const before = await find(manager, id);
      if (before === null) throw noSuchNode(id);
      if (Object.keys(patch).length > 0) await manager.update(NodeEntity, { id }, { ...patch });
      return { ...before, ...patch };
    });
  }

  async remove(id: NodeId): Promise<void> {
    await this.database.write((manager) => manager.delete(NodeEntity, { id }));
  }
}

const find = (manager: EntityManager, id: NodeId): Promise<NodeRecord | null> => manager.findOneBy(NodeEntity, { id });
