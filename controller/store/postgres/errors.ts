/** Maps PostgreSQL's SQLSTATEs and connection failures to Nexus codes. One table, matched by code and never by text. */
import { QueryFailedError, QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError } from 'typeorm';
import { NexusError, type ErrorCode } from '../../../shared/errors.js';

interface Meaning {
  readonly code: ErrorCode;
  readonly says: string;
}

const UNREACHABLE: Meaning = {
  code: 'unavailable',
  says: 'the server cannot be reached; check that it runs, and the setting database-url',
};
const BROKEN: Meaning = { code: 'unavailable', says: 'the connection to the server broke; try again' };

/** By SQLSTATE or errno; unlisted ones use the entry of their class, the first two characters. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  '23505': { code: 'already_exists', says: 'it exists already' },
  '25006': { code: 'permission_denied', says: 'the server accepts no writes; is it a standby?' },
  '28': {
    code: 'permission_denied',
    says: 'the server refused the user; check the user in database-url, database-password-file and pg_hba.conf',
  },
  '3D000': {
    code: 'not_found',
    says: 'it does not exist; make it: createdb -T template0 -E UTF8 --locale=C.UTF-8 NAME',
  },
  '42501': { code: 'permission_denied', says: 'the user lacks a right in it; make the user its owner' },
  '53100': { code: 'resource_exhausted', says: "the server's disk is full; make room on it" },
  '53': { code: 'unavailable', says: 'the server lacks connections or memory; raise its limits' },
  '57014': { code: 'deadline_exceeded', says: 'a statement took too long; check what keeps the server busy' },
  '57': { code: 'unavailable', says: 'the server is stopping or starting; try again' },
  '58030': { code: 'internal', says: "the server's disk failed; check it" },
  '08': BROKEN,
  XX001: { code: 'data_loss', says: 'the database is damaged; restore it from a backup' },
  XX002: { code: 'data_loss', says: 'the database is damaged; restore it from a backup' },
  ECONNREFUSED: UNREACHABLE,
  EHOSTUNREACH: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  ENOTFOUND: UNREACHABLE,
  EAI_AGAIN: UNREACHABLE,
  ETIMEDOUT: UNREACHABLE,
  ENOENT: UNREACHABLE,
  ECONNRESET: BROKEN,
  EPIPE: BROKEN,
};

/** Translates a value thrown by the driver (bare or wrapped by TypeORM) into a NexusError; returns others unchanged. */
export function translatePostgresError(thrown: unknown, name: string): unknown {
  const cause: unknown = thrown instanceof QueryFailedError ? thrown.driverError : thrown;
  if (cause instanceof NexusError) return cause;
  const code = codeOf(cause);
  // When a connection breaks, TypeORM releases its runner under running work, and reports only that.
  const isTaken =
    thrown instanceof QueryRunnerAlreadyReleasedError || thrown instanceof QueryRunnerProviderAlreadyReleasedError;
  // The server's errors always have a code. Without one the error is the client's: the connection is gone.
  const meaning =
    isTaken || (code === '' && thrown instanceof QueryFailedError)
      ? BROKEN
      : (MEANINGS[code] ?? MEANINGS[code.slice(0, 2)]);
  if (meaning === undefined) return thrown;
  const message = meaning.code === 'already_exists' ? meaning.says : `${name}: ${meaning.says}`;
  return new NexusError(meaning.code, message, { sqlstate: code }, { cause: thrown });
}

const codeOf = (thrown: unknown): string =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
