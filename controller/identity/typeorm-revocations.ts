/** Tokens that were given back before their time. */
import type { Database } from '../store/typeorm/database.js';
import { RevocationEntity } from './entities.js';
import type { AuditLine, RevocationStore } from './port.js';
import { appendAudit } from './typeorm-audit.js';

export class TypeormRevocationStore implements RevocationStore {
  constructor(private readonly database: Database) {}

  add(tokenId: string, expiresAt: number, audit: AuditLine): Promise<void> {
    return this.database.write(async (manager) => {
      if (await manager.existsBy(RevocationEntity, { tokenId })) return;
      await manager.insert(RevocationEntity, { tokenId, expiresAt });
      await appendAudit(manager, audit);
    });
  }

  has(tokenId: string): Promise<boolean> {
    return this.database.read((manager) => manager.existsBy(RevocationEntity, { tokenId }));
  }
}
