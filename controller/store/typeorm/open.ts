/** Chooses the database by the settings: a line for each that shared/config/databases.ts names, beside SQLite. */
import { databaseOfUrl, URL_BEGINNINGS, type DatabaseName } from '../../../shared/config/databases.js';
import type { Settings } from '../../../shared/config/settings.js';
import { NexusError } from '../../../shared/errors.js';
import { postgres, postgresLocation } from '../postgres/open.js';
import { sqlite, sqliteLocation } from '../sqlite/open.js';
import type { OpenDatabase } from './database.js';

type DatabaseSettings = Pick<Settings, 'databaseUrl' | 'databasePasswordFile' | 'stateDir' | 'instance'>;
/** Called once if another controller has taken the database over. */
type Lost = (error: NexusError) => void;

const ADAPTERS: Readonly<
  Record<DatabaseName, (settings: DatabaseSettings, name: string, lost: Lost | undefined) => OpenDatabase>
> = {
  sqlite: (settings, name) => sqlite(sqliteLocation(settings, name)),
  postgresql: (settings, name, lost) => postgres(postgresLocation(settings, name, lost)),
};

/** `name` is `nexus` or `auth`. Code: invalid_argument. */
export function databaseOf(settings: DatabaseSettings, name: string, lost?: Lost): OpenDatabase {
  const { databaseUrl } = settings;
  const kind = databaseUrl === undefined ? 'sqlite' : databaseOfUrl(databaseUrl);
  if (kind === undefined) {
    const why = `setting database-url: it names no known database; it begins with ${URL_BEGINNINGS}`;
    throw new NexusError('invalid_argument', why, { field: 'database-url' });
  }
  return ADAPTERS[kind](settings, name, lost);
}
