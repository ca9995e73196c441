/** Accounts. The primary key and the unique index on the address are what two racing registrations meet. */
import { MoreThan, Not } from 'typeorm';
import type { Database } from '../store/typeorm/database.js';
import { UserEntity } from './entities.js';
import { type AuditLine, type UserPatch, type UserRecord, type UserStore, noSuchUser, userTaken } from './port.js';
import { appendAudit } from './typeorm-audit.js';

export class TypeormUserStore implements UserStore {
  constructor(private readonly database: Database) {}

  async get(username: string): Promise<UserRecord | undefined> {
    return (await this.database.read((manager) => manager.findOneBy(UserEntity, { username }))) ?? undefined;
  }

  async getByEmail(email: string): Promise<UserRecord | undefined> {
    return (await this.database.read((manager) => manager.findOneBy(UserEntity, { email }))) ?? undefined;
  }

  list({ limit, after }: { readonly limit: number; readonly after: string }): Promise<readonly UserRecord[]> {
    return this.database.read((manager) =>
      manager.find(UserEntity, { where: { username: MoreThan(after) }, order: { username: 'ASC' }, take: limit }),
    );
  }

  create(user: UserRecord, audit: AuditLine): Promise<void> {
    return this.database.write(async (manager) => {
      if (await manager.existsBy(UserEntity, { username: user.username })) throw userTaken('name', user.username);
      if (await manager.existsBy(UserEntity, { email: user.email })) throw userTaken('address', user.email);
      await manager.insert(UserEntity, { ...user });
      await appendAudit(manager, audit);
    });
  }

  update(
    username: string,
    change: (user: UserRecord, otherAdministrators: number) => UserPatch,
    audit: AuditLine,
  ): Promise<UserRecord> {
    return this.database.write(async (manager) => {
      const before = await manager.findOneBy(UserEntity, { username });
      if (before === null) throw noSuchUser(username);
      const others = { username: Not(username), role: 'admin', disabled: false } as const;
      const patch = change(before, await manager.countBy(UserEntity, others));
      await manager.update(UserEntity, { username }, { ...patch });
      await appendAudit(manager, audit);
      return { ...before, ...patch };
    });
  }
}
