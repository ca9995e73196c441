/** The audit log: appended to in the transaction of what it tells. */
import { LessThan, LessThanOrEqual, type EntityManager } from 'typeorm';
import type { Database } from '../store/typeorm/database.js';
import { MAX_AUDIT_LINES } from './bounds.js';
import { AuditEntity } from './entities.js';
import type { AuditLine, AuditRecord, AuditStore } from './port.js';

export async function appendAudit(manager: EntityManager, line: AuditLine): Promise<void> {
  const inserted = await manager.insert(AuditEntity, { ...line });
  const id = Number(inserted.identifiers[0]?.['id']);
  await manager.delete(AuditEntity, { id: LessThanOrEqual(id - MAX_AUDIT_LINES) });
}

export class TypeormAuditStore implements AuditStore {
  constructor(private readonly database: Database) {}

  append(line: AuditLine): Promise<void> {
    return this.database.write((manager) => appendAudit(manager, line));
  }

  list(page: {
    readonly limit: number;
    readonly before: number;
    readonly username: string;
  }): Promise<readonly AuditRecord[]> {
    const where = {
      ...(page.before === 0 ? {} : { id: LessThan(page.before) }),
      ...(page.username === '' ? {} : { username: page.username }),
    };
    return this.database.read((manager) =>
      manager.find(AuditEntity, { where, order: { id: 'DESC' }, take: page.limit }),
    );
  }
}
