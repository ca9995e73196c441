/** Codes that were sent. A try is counted by a conditional update before it is looked at, in one transaction with it. */
import { type EntityManager } from 'typeorm';
import type { Database } from '../store/typeorm-database.js';
import { ChallengeEntity } from './entities.js';
import type { AuditLine, ChallengeRecord, ChallengeStore } from './port.js';
import { appendAudit } from './typeorm-audit.js';

type Attempt = Parameters<ChallengeStore['redeem']>[0];

export class TypeormChallengeStore implements ChallengeStore {
  constructor(private readonly database: Database) {}

  put(challenge: ChallengeRecord, audit: AuditLine): Promise<void> {
    const { purpose, account } = challenge;
    return this.database.write(async (manager) => {
      await manager.delete(ChallengeEntity, { purpose, account });
      await manager.insert(ChallengeEntity, { ...challenge });
      await appendAudit(manager, audit);
    });
  }

  redeem(attempt: Attempt): Promise<ChallengeRecord | undefined> {
    const { purpose, account, matches, audit } = attempt;
    return this.database.write(async (manager) => {
      const isCounted = await countAttempt(manager, attempt);
      const found = await manager.findOneBy(ChallengeEntity, { purpose, account });
      const open = isCounted && found !== null ? found : undefined;
      const isRight = matches(open);
      const won = isRight && open !== undefined && (await useUp(manager, attempt));
      await appendAudit(manager, audit(won));
      return won ? open : undefined;
    });
  }
}

async function countAttempt(manager: EntityManager, attempt: Attempt): Promise<boolean> {
  const { purpose, account, now, origin, maxAttempts, maxElsewhere } = attempt;
  const count = async (column: 'attempts' | 'attemptsElsewhere', where: string, most: number): Promise<boolean> => {
    const name = column === 'attempts' ? 'attempts' : 'attempts_elsewhere';
    const updated = await manager
      .createQueryBuilder()
      .update(ChallengeEntity)
      .set({ [column]: () => `${name} + 1` })
      .where('purpose = :purpose AND account = :account', { purpose, account })
      .andWhere(`expires_at > :now AND ${where} AND ${name} < :most`, { now, origin, most })
      .execute();
    return updated.affected === 1;
  };
  return (
    (await count('attempts', 'origin = :origin', maxAttempts)) ||
    (await count('attemptsElsewhere', 'origin <> :origin', maxElsewhere))
  );
}

async function useUp(manager: EntityManager, { purpose, account }: Attempt): Promise<boolean> {
  const deleted = await manager.delete(ChallengeEntity, { purpose, account });
  return deleted.affected === 1;
}
