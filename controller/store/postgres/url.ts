/** Parses the address of a PostgreSQL database in libpq's form; rejects parameters that would be ignored silently. */
import { readFileSync } from 'node:fs';
import { NexusError } from '../../../shared/errors.js';

export interface PostgresServer {
  /** A host name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly ssl: false | { readonly rejectUnauthorized: boolean; readonly ca?: string };
}

const DEFAULT_PORT = 5432;
const PARAMETERS = ['host', 'sslmode', 'sslrootcert'];

/** postgresql://USER@HOST[:PORT]/DATABASE[?sslmode=disable|require|verify-full&sslrootcert=FILE&host=FOLDER]. Code: invalid_argument. */
export function parsePostgresUrl(text: string): PostgresServer {
  const url = parsed(text);
  if (url.protocol !== 'postgresql:' && url.protocol !== 'postgres:') {
    throw wrong(`it begins with ${url.protocol}, not with postgresql:`);
  }
  if (url.password !== '')
    throw wrong('it contains a password; put it into a file and name it in database-password-file');
  const unknown = [...url.searchParams.keys()].find((key) => !PARAMETERS.includes(key));
  if (unknown !== undefined) throw wrong(`"${unknown}" is none of ${PARAMETERS.join(', ')}`);
  const host = url.searchParams.get('host') ?? decodeURIComponent(url.hostname);
  const user = decodeURIComponent(url.username);
  const database = decodeURIComponent(url.pathname.slice(1));
  if (host === '' || user === '' || database === '') throw wrong('it must name a user, a host and a database');
  return { host, port: url.port === '' ? DEFAULT_PORT : Number(url.port), user, database, ssl: sslOf(url) };
}

function parsed(text: string): URL {
  try {
    return new URL(text);
  } catch (error) {
    throw wrong('it is no URL', error);
  }
}

function sslOf(url: URL): PostgresServer['ssl'] {
  const mode = url.searchParams.get('sslmode') ?? 'disable';
  if (mode === 'disable') return false;
  if (mode === 'require') return { rejectUnauthorized: false };
  if (mode !== 'verify-full') throw wrong(`sslmode must be disable, require or verify-full, not "${mode}"`);
  const path = url.searchParams.get('sslrootcert');
  return path === null ? { rejectUnauthorized: true } : { rejectUnauthorized: true, ca: certificate(path) };
}

function certificate(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw wrong(`its sslrootcert ${path} cannot be read`, error);
  }
}

/** Does not repeat the URL, which could contain a password. */
const wrong = (why: string, cause?: unknown): NexusError =>
  new NexusError(
    'invalid_argument',
    `setting database-url: ${why}; it is written postgresql://USER@HOST:PORT/DATABASE`,
    { field: 'database-url' },
    { cause },
  );
