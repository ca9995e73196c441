/** Opens the database that the settings select: a file of SQLite in the state folder, or a schema of PostgreSQL. */
import { join } from 'node:path';
import type { Settings } from '../../../shared/config/settings.js';
import { DEFAULT_INSTANCE } from '../../../shared/config/instance.js';
import type { Logger } from '../../../shared/log.js';
import { openPostgres, type PostgresLocation } from '../postgres/open.js';
import { openSqlite, type SqliteLocation } from '../sqlite/open.js';
import type { Tables, TypeormDatabase } from './database.js';

export type DatabaseLocation = SqliteLocation | PostgresLocation;

/**
 * Codes: data_loss (damaged), unavailable (locked, not reachable), permission_denied, not_found (folder or database),
 * failed_precondition (written by a newer Nexus, unfit), already_exists (another controller has it).
 */
export const openDatabase = (location: DatabaseLocation, tables: Tables, log: Logger): Promise<TypeormDatabase> =>
  'path' in location ? openSqlite(location, tables, log) : openPostgres(location, tables, log);

/**
 * `name` is `nexus` or `auth`: the database is <state>/<name>.db, or the schema of that name. The schema's name
 * includes the instance's unless that is the default, so that several instances can share a PostgreSQL database. `lost`
 * is called when another controller has taken it over.
 */
export function databaseLocation(
  settings: Pick<Settings, 'databaseUrl' | 'databasePasswordFile' | 'stateDir' | 'instance'>,
  name: string,
  lost?: PostgresLocation['lost'],
): DatabaseLocation {
  const { databaseUrl: url, databasePasswordFile: passwordFile, stateDir, instance } = settings;
  if (url === undefined) return { path: join(stateDir, `${name}.db`) };
  const schema = instance === DEFAULT_INSTANCE ? name : `${name}_${instance}`;
  return { url, passwordFile, schema, ...(lost === undefined ? {} : { lost }) };
}
