/**
 * Accounts: the bytes that each user stores and has reserved. Changed only in the transaction of the files or uploads
 * concerned.
 */
import type { EntityManager } from 'typeorm';
import { assertWithinQuota } from '../port/fs-rules.js';
import type { Account } from '../port/fs.js';
import { query } from './query.js';

interface Row {
  readonly owner: string;
  readonly limit: number | string | null;
  readonly used: number | string;
  readonly reserved: number | string;
  readonly createdAt: number | string;
}

const COLUMNS = `owner AS "owner", quota AS "limit", used AS "used", reserved AS "reserved", created_at AS "createdAt"`;

export async function findAccount(manager: EntityManager, owner: string): Promise<Account | undefined> {
  const [row] = await query<Row>(manager, `SELECT ${COLUMNS} FROM accounts WHERE owner = ?`, [owner]);
  return row === undefined ? undefined : accountOf(row);
}

export const accountOf = (row: Row): Account => ({
  owner: row.owner,
  limit: row.limit === null ? null : Number(row.limit),
  used: Number(row.used),
  reserved: Number(row.reserved),
  createdAt: Number(row.createdAt),
});

export async function ensureAccount(manager: EntityManager, owner: string, now: number): Promise<void> {
  await query(
    manager,
    'INSERT INTO accounts (owner, used, reserved, created_at) VALUES (?, 0, 0, ?) ON CONFLICT (owner) DO NOTHING',
    [owner, now],
  );
}

/**
 * Adds to an existing account. An increase is rejected beyond the account's own limit or, if it has none, `limit`; a
 * decrease never is. Code: resource_exhausted.
 */
export async function charge(
  manager: EntityManager,
  owner: string,
  change: { readonly used?: number; readonly reserved?: number },
  limit = 0,
): Promise<void> {
  const { used = 0, reserved = 0 } = change;
  if (used === 0 && reserved === 0) return;
  await query(manager, 'UPDATE accounts SET used = used + ?, reserved = reserved + ? WHERE owner = ?', [
    used,
    reserved,
    owner,
  ]);
  if (used + reserved <= 0) return;
  const after = await findAccount(manager, owner);
  if (after !== undefined) assertWithinQuota(owner, after, after.limit ?? limit);
}
