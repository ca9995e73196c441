/** The identity store over TypeORM, in a database of its own. */
import { LessThanOrEqual } from 'typeorm';
import type { Logger } from '../../shared/log.js';
import type { OpenDatabase, TypeormDatabase } from '../store/typeorm/database.js';
import { ChallengeEntity, CounterEntity, IDENTITY_ENTITIES, RevocationEntity } from './entities.js';
import { Accounts0001 } from './migrations/0001-accounts.js';
import { CodeOrigins0002 } from './migrations/0002-code-origins.js';
import { CodesByOrigin0003 } from './migrations/0003-codes-by-origin.js';
import type { AuditStore, ChallengeStore, CounterStore, IdentityStore, RevocationStore, UserStore } from './port.js';
import { TypeormAuditStore } from './typeorm-audit.js';
import { TypeormChallengeStore, TypeormCounterStore, TypeormRevocationStore } from './typeorm-expiring.js';
import { TypeormUserStore } from './typeorm-users.js';

const MIGRATIONS = [Accounts0001, CodeOrigins0002, CodesByOrigin0003];

/** Codes: those of OpenDatabase. */
export async function openIdentityStore(open: OpenDatabase, log: Logger): Promise<IdentityStore> {
  return new TypeormIdentityStore(await open({ entities: IDENTITY_ENTITIES, migrations: MIGRATIONS }, log));
}

class TypeormIdentityStore implements IdentityStore {
  readonly users: UserStore;
  readonly challenges: ChallengeStore;
  readonly revocations: RevocationStore;
  readonly counters: CounterStore;
  readonly audit: AuditStore;

  constructor(private readonly database: TypeormDatabase) {
    this.users = new TypeormUserStore(database);
    this.challenges = new TypeormChallengeStore(database);
    this.revocations = new TypeormRevocationStore(database);
    this.counters = new TypeormCounterStore(database);
    this.audit = new TypeormAuditStore(database);
  }

  revision(): number {
    return this.database.writes;
  }

  async purge(now: number): Promise<void> {
    await this.database.write(async (manager) => {
      await manager.delete(ChallengeEntity, { expiresAt: LessThanOrEqual(now) });
      await manager.delete(RevocationEntity, { expiresAt: LessThanOrEqual(now) });
      await manager.delete(CounterEntity, { resetsAt: LessThanOrEqual(now) });
    });
  }

  close(): Promise<void> {
    return this.database.close();
  }

  erase(): Promise<void> {
    return this.database.erase();
  }
}
