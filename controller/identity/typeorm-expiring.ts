/** Records that expire: counted attempts, revoked tokens, codes that were sent. */
import { MoreThan, type EntityManager } from 'typeorm';
import type { Database } from '../store/typeorm/database.js';
import { ChallengeEntity, CounterEntity, RevocationEntity } from './entities.js';
import { firstMatch } from './otp.js';
import type { AuditLine, ChallengeRecord, ChallengeStore, Count, CounterStore, RevocationStore } from './port.js';
import { appendAudit } from './typeorm-audit.js';

/** Counts tries within a window of time. */
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

/** Tokens that were revoked before they expired. */
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

type Attempt = Parameters<ChallengeStore['redeem']>[0];

/** Codes that were sent. A conditional update counts a try before it is checked, in one transaction with the check. */
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

/** Returns the code as it is then, or undefined if no try is left. */
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
