/** Maps SQLite's result codes to Nexus codes. One table, matched by the driver's code and never by text. */
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { QueryFailedError } from 'typeorm';
import { NexusError, type ErrorCode } from '../../../shared/errors.js';
import { FULL_DISK_BYTES } from '../../../shared/limits.js';

interface Meaning {
  readonly code: ErrorCode;
  readonly says: string;
}

/** By primary result code; extended ones (SQLITE_IOERR_READ, ...) use the entry of theirs. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  SQLITE_NOTADB: {
    code: 'data_loss',
    says: 'the file is damaged or no SQLite database; restore it from a backup, or move it away to start empty',
  },
  SQLITE_CORRUPT: {
    code: 'data_loss',
    says: 'the database is damaged; restore it from a backup, or move it away to start empty',
  },
  SQLITE_BUSY: {
    code: 'unavailable',
    says: 'the database is locked by another program; end that program (another controller, a sqlite3 shell)',
  },
  SQLITE_LOCKED: { code: 'unavailable', says: 'the database is locked; try again' },
  SQLITE_FULL: { code: 'resource_exhausted', says: 'the disk is full; make room on it' },
  SQLITE_READONLY: { code: 'permission_denied', says: 'the database cannot be written; check its owner and mode' },
  SQLITE_CANTOPEN: {
    code: 'permission_denied',
    says: 'the database cannot be opened; check that its folder exists and its mode',
  },
  SQLITE_PERM: { code: 'permission_denied', says: 'the database cannot be accessed; check its owner and mode' },
  SQLITE_IOERR: { code: 'internal', says: 'the disk failed to read or write the database; check the disk' },
  SQLITE_CONSTRAINT_UNIQUE: { code: 'already_exists', says: 'it exists already' },
  SQLITE_CONSTRAINT_PRIMARYKEY: { code: 'already_exists', says: 'it exists already' },
};

/** Translates a value thrown by the driver (bare or wrapped by TypeORM) into a NexusError; returns others unchanged. */
export function translateSqliteError(thrown: unknown, path: string): unknown {
  const cause: unknown = thrown instanceof QueryFailedError ? thrown.driverError : thrown;
  const found = codeOf(cause);
  const code = found.startsWith('SQLITE_IOERR') && isFull(dirname(path)) ? 'SQLITE_FULL' : found;
  const meaning = MEANINGS[code] ?? MEANINGS[code.split('_').slice(0, 2).join('_')];
  if (meaning === undefined) return thrown;
  const message = meaning.code === 'already_exists' ? meaning.says : `${path}: ${meaning.says}`;
  return new NexusError(meaning.code, message, { sqlite_code: found }, { cause: thrown });
}

/**
 * Whether the disk is full: SQLite reports an I/O failure when it can't make or grow files beside the database. What is
 * free for root besides does not count: ext4 counts blocks among it that nobody gets.
 */
function isFull(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < FULL_DISK_BYTES;
  } catch {
    return false;
  }
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
