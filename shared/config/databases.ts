/**
 * What `database-url` can name: a row for each kind of database beside SQLite, which needs no address. Their adapters are
 * folders below controller/store/, chosen in controller/store/typeorm/open.ts.
 */
interface DatabaseTraits {
  /** In the help of the setting. */
  readonly title: string;
  /** Ways to write the scheme; the first one is that of messages. */
  readonly schemes: readonly [string, ...string[]];
  readonly defaultPort: string;
  readonly form: string;
}

export const DATABASES = {
  postgresql: {
    title: 'PostgreSQL',
    schemes: ['postgresql', 'postgres'],
    defaultPort: '5432',
    form: 'postgresql://USER@HOST:PORT/DATABASE',
  },
} as const satisfies Readonly<Record<string, DatabaseTraits>>;

/** A kind of database with an address. */
type ServerName = keyof typeof DATABASES;
export type DatabaseName = 'sqlite' | ServerName;

const SERVER_NAMES = Object.keys(DATABASES) as ServerName[];

/** Finds the kind of database that a URL names; undefined: none that is known. */
export function databaseOfUrl(url: string): ServerName | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(url)?.[1];
  return SERVER_NAMES.find((name) => DATABASES[name].schemes.some((known) => known === scheme));
}

export const URL_BEGINNINGS = SERVER_NAMES.map((name) => `${DATABASES[name].schemes[0]}://`).join(' or ');
/** `PostgreSQL as the store, postgresql://USER@HOST:PORT/DATABASE` */
export const DATABASES_IN_WORDS = SERVER_NAMES.map(
  (name) => `${DATABASES[name].title} as the store, ${DATABASES[name].form}`,
).join('; ');
