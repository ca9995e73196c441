/** The bounded history of events. */
import { LessThanOrEqual, MoreThan } from 'typeorm';
import { EventEntity } from './entities.js';
import type { EventRecord, EventStore } from '../port/store.js';
import type { Database } from './database.js';
import { MAX_EVENTS } from '../port/bounds.js';

export class TypeormEventStore implements EventStore {
  constructor(private readonly database: Database) {}

  append(event: Omit<EventRecord, 'id'>): Promise<EventRecord> {
    return this.database.write(async (manager) => {
      const inserted = await manager.insert(EventEntity, { ...event });
      const id = Number(inserted.identifiers[0]?.['id']);
      await manager.delete(EventEntity, { id: LessThanOrEqual(id - MAX_EVENTS) });
      return { id, ...event };
    });
  }

  list(afterId: number): Promise<readonly EventRecord[]> {
    return this.database.read((manager) =>
      manager.find(EventEntity, { where: { id: MoreThan(afterId) }, order: { id: 'ASC' } }),
    );
  }
}
