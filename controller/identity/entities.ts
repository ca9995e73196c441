/** How the records of identity lie in auth.db. */
import { EntitySchema } from 'typeorm';
import { bigint, integer, text } from '../store/typeorm/database-columns.js';
import type { AuditRecord, ChallengeRecord, UserRecord } from './port.js';

export interface RevocationRow {
  readonly tokenId: string;
  readonly expiresAt: number;
}

export interface CounterRow {
  readonly key: string;
  readonly count: number;
  readonly resetsAt: number;
}

export const UserEntity = new EntitySchema<UserRecord>({
  name: 'user',
  tableName: 'users',
  columns: {
    username: { type: 'varchar', length: 32, primary: true },
    email: text('email'),
    passwordHash: text('password_hash'),
    role: text('role'),
    disabled: { type: 'boolean' },
    tokenGeneration: integer('token_generation'),
    createdAt: bigint('created_at'),
  },
});

export const ChallengeEntity = new EntitySchema<ChallengeRecord>({
  name: 'challenge',
  tableName: 'challenges',
  columns: {
    purpose: { type: 'varchar', length: 16, primary: true },
    account: { type: 'varchar', length: 254, primary: true },
    salt: text('salt'),
    codeHash: text('code_hash'),
    attempts: integer('attempts'),
    origin: { type: 'varchar', length: 64, primary: true },
    attemptsElsewhere: integer('attempts_elsewhere'),
    expiresAt: bigint('expires_at'),
    username: text('username'),
    passwordHash: text('password_hash'),
  },
});

export const RevocationEntity = new EntitySchema<RevocationRow>({
  name: 'revocation',
  tableName: 'revocations',
  columns: {
    tokenId: { type: 'varchar', length: 32, primary: true, name: 'token_id' },
    expiresAt: bigint('expires_at'),
  },
});

export const CounterEntity = new EntitySchema<CounterRow>({
  name: 'counter',
  tableName: 'counters',
  columns: {
    key: { type: 'varchar', length: 320, primary: true, name: 'counter_key' },
    count: integer('calls'),
    resetsAt: bigint('resets_at'),
  },
});

export const AuditEntity = new EntitySchema<AuditRecord>({
  name: 'audit',
  tableName: 'audit',
  columns: {
    id: { type: 'integer', primary: true, generated: 'increment' },
    at: bigint('at'),
    action: text('action'),
    username: text('username'),
    actor: text('actor'),
    address: text('address'),
    detail: text('detail'),
  },
});

export const IDENTITY_ENTITIES = [UserEntity, ChallengeEntity, RevocationEntity, CounterEntity, AuditEntity];
