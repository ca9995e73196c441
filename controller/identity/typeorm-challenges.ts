/** Codes that were sent. A try is counted by a conditional update before it is looked at, in one transaction with it. */
import { MoreThan, type EntityManager } from 'typeorm';
import type { Database } from '../store/typeorm/database.js';
import { ChallengeEntity } from './entities.js';
import { firstMatch } from './otp.js';
import type { AuditLine, ChallengeRecord, ChallengeStore } from './port.js';
import { appendAudit } from './typeorm-audit.js';

type Attempt = Parameters<ChallengeStore['redeem']>[0];

export class TypeormChallengeStore implements ChallengeStore {
  constructor(private readonly database: Database) {}

  put(challenge: ChallengeRecord, audit: AuditLine): Promise<void> {
    return this.database.write(async (manager) => {
      await replace(manager, challenge);
      await appendAudit(manager, audit);
    });
  }

  join(...[challenge, { now, most }, audit]: Parameters<ChallengeStore['join']>): Promise<number | undefined> {
    return this.database.write(async (manager) => {
      const open = await openOnes(manager, challenge, now);
      const [newest] = open;
      if (newest === undefined) return undefined;
      const { salt, codeHash, expiresAt } = newest;
      const sharers = open.filter((one) => one.codeHash === codeHash);
      const own = sharers.find(({ origin }) => origin === challenge.origin);
      if (own === undefined && sharers.length > most) return undefined;
      const tries = own === undefined ? {} : { attempts: own.attempts, attemptsElsewhere: own.attemptsElsewhere };
      await replace(manager, { ...challenge, salt, codeHash, expiresAt, ...tries });
      await appendAudit(manager, audit);
      return expiresAt;
    });
  }

  redeem(attempt: Attempt): Promise<ChallengeRecord | undefined> {
    const { purpose, account, now, origin, matches, audit } = attempt;
    return this.database.write(async (manager) => {
      const open = await openOnes(manager, attempt, now);
      const own = open.filter((one) => one.origin === origin);
      const counted: ChallengeRecord[] = [];
      for (const one of own.length > 0 ? own : open) {
        const after = await countAttempt(manager, one, attempt);
        if (after !== undefined) counted.push(after);
      }
      const found = firstMatch(counted, matches);
      const isWon =
        found !== undefined &&
        ((await manager.delete(ChallengeEntity, { purpose, account, codeHash: found.codeHash })).affected ?? 0) > 0;
      await appendAudit(manager, audit(isWon));
      return isWon ? found : undefined;
    });
  }
}

async function replace(manager: EntityManager, challenge: ChallengeRecord): Promise<void> {
  const { purpose, account, origin } = challenge;
  await manager.delete(ChallengeEntity, { purpose, account, origin });
  await manager.insert(ChallengeEntity, { ...challenge });
}

/** The newest first. */
const openOnes = (
  manager: EntityManager,
  { purpose, account }: Pick<ChallengeRecord, 'purpose' | 'account'>,
  now: number,
): Promise<ChallengeRecord[]> =>
  manager.find(ChallengeEntity, {
    where: { purpose, account, expiresAt: MoreThan(now) },
    order: { expiresAt: 'DESC' },
  });

/** Answers it as it is then, or undefined if no try is left. */
async function countAttempt(
  manager: EntityManager,
  one: ChallengeRecord,
  { origin, maxAttempts, maxElsewhere }: Attempt,
): Promise<ChallengeRecord | undefined> {
  const isOwn = one.origin === origin;
  const name = isOwn ? 'attempts' : 'attempts_elsewhere';
  const updated = await manager
    .createQueryBuilder()
    .update(ChallengeEntity)
    .set({ [isOwn ? 'attempts' : 'attemptsElsewhere']: () => `${name} + 1` })
    .where('purpose = :purpose AND account = :account AND origin = :origin', { ...one })
    .andWhere(`${name} < :most`, { most: isOwn ? maxAttempts : maxElsewhere })
    .execute();
  if (updated.affected !== 1) return undefined;
  return isOwn ? { ...one, attempts: one.attempts + 1 } : { ...one, attemptsElsewhere: one.attemptsElsewhere + 1 };
}
