/** How often something was tried within a window of time. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../store/typeorm/database.js';
import { CounterEntity } from './entities.js';
import type { Count, CounterStore } from './port.js';

export class TypeormCounterStore implements CounterStore {
  constructor(private readonly database: Database) {}

  count(keys: readonly string[], now: number, windowMs: number): Promise<readonly Count[]> {
    return this.database.write(async (manager) => {
      const counts: Count[] = [];
      for (const key of keys) counts.push(await countOne(manager, key, now, windowMs));
      return counts;
    });
  }

  async has(key: string, now: number): Promise<boolean> {
    const found = await this.database.read((manager) => manager.findOneBy(CounterEntity, { key }));
    return found !== null && found.resetsAt > now;
  }

  async forget(ending: string): Promise<void> {
    const pattern = `%${ending.replace(/[\\%_]/g, '\\$&')}`;
    await this.database.write(async (manager) => {
      await manager
        .createQueryBuilder()
        .delete()
        .from(CounterEntity)
        .where("counter_key LIKE :pattern ESCAPE '\\'", { pattern })
        .execute();
    });
  }
}

async function countOne(manager: EntityManager, key: string, now: number, windowMs: number): Promise<Count> {
  const before = await manager.findOneBy(CounterEntity, { key });
  if (before === null) {
    const first = { key, count: 1, resetsAt: now + windowMs };
    await manager.insert(CounterEntity, { ...first });
    return first;
  }
  const isOver = before.resetsAt <= now;
  const after = isOver
    ? { key, count: 1, resetsAt: now + windowMs }
    : { key, count: before.count + 1, resetsAt: before.resetsAt };
  await manager.update(CounterEntity, { key }, { count: after.count, resetsAt: after.resetsAt });
  return after;
}
