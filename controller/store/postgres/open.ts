/**
 * PostgreSQL: one schema of a database, one connection that writes and a few that read.
 *
 * The writing session also holds the schema's lock, so that a writer always has it: see session.ts.
 */
import { readFile, stat } from 'node:fs/promises';
import type pg from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { DEFAULT_INSTANCE } from '../../../shared/config/instance.js';
import type { Settings } from '../../../shared/config/settings.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';
import { translatePostgresError } from './errors.js';
import { postgresDriver } from './pool.js';
import { WritingSession } from './session.js';
import { PostgresTransactions } from './transactions.js';
import { parsePostgresUrl, type PostgresServer } from './url.js';
import { migrate, TypeormDatabase, type OpenDatabase, type Tables } from '../typeorm/database.js';

type PostgresSettings = Pick<Settings, 'databaseUrl' | 'databasePasswordFile' | 'instance'>;

export interface PostgresLocation {
  /** postgresql://USER@HOST[:PORT]/DATABASE, without a password. */
  readonly url: string;
  /** Readable by its owner only; undefined: the server requires no password. */
  readonly passwordFile: string | undefined;
  /** Created if missing. Lower-case letters, digits and "_" only. */
  readonly schema: string;
  /** Called once if this controller lost its session and another one has taken the schema. */
  readonly lost?: (error: NexusError) => void;
  /** See PostgresTransactions. */
  readonly outcomeTimeoutMs?: number;
}

/** Twice the wait for the lock, and more: a writer may queue behind the renewal of the session. */
const CONNECT_TIMEOUT_MS = 15_000;
/** No statement of ours takes a second on a million chunks; a hanging server must not block the controller. */
const STATEMENT_TIMEOUT_MS = 60_000;
/** The server aborts a statement earlier; without an answer by then the server or the network is gone. */
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 5000;
/** Detects within seconds that the other end of a connection has silently gone. */
const KEEP_ALIVE_AFTER_MS = 10_000;
/** Statements are short; more connections would only wait for the same disk. */
const READING_CONNECTIONS = 4;

/**
 * `name` is `nexus` or `auth`. The schema's name includes the instance's unless that is the default, so that several
 * instances can share a database.
 */
export function postgresLocation(
  { databaseUrl, databasePasswordFile, instance }: PostgresSettings,
  name: string,
  lost?: PostgresLocation['lost'],
): PostgresLocation {
  const schema = instance === DEFAULT_INSTANCE ? name : `${name}_${instance}`;
  const server = { url: databaseUrl ?? '', passwordFile: databasePasswordFile };
  return { ...server, schema, ...(lost === undefined ? {} : { lost }) };
}

export const postgres =
  (location: PostgresLocation): OpenDatabase =>
  (tables, log) =>
    openPostgres(location, tables, log);

async function openPostgres(location: PostgresLocation, tables: Tables, log: Logger): Promise<TypeormDatabase> {
  const { schema, lost, outcomeTimeoutMs } = location;
  const server = parsePostgresUrl(location.url);
  const name = `the PostgreSQL database ${server.database} on ${server.host}`;
  const password = location.passwordFile === undefined ? undefined : await readPassword(location.passwordFile);
  const translate = (thrown: unknown): unknown => translatePostgresError(thrown, name);
  const session = new WritingSession(schema, log, lost);
  const common = { driver: await postgresDriver(), server, password, schema, tables, log };
  const writer = new DataSource(dataSourceOptions({ ...common, session }));
  const reader = new DataSource(dataSourceOptions({ ...common, session: undefined }));
  try {
    await writer.initialize();
    session.keep(writer);
    await assertFit(writer, name, log);
    await migrate(writer, name, log);
    await reader.initialize();
  } catch (error) {
    session.letGo();
    for (const source of [reader, writer]) if (source.isInitialized) await source.destroy().catch(() => undefined);
    throw translate(error);
  }
  const close = async (): Promise<void> => {
    session.letGo();
    await reader.destroy();
    await writer.destroy();
  };
  const erase = async (): Promise<void> => {
    await writer.initialize();
    await writer.query(`DROP SCHEMA "${schema}" CASCADE`);
    await writer.destroy();
  };
  const transactions = new PostgresTransactions(writer, outcomeTimeoutMs);
  return new TypeormDatabase({ transactions, reader, translate, close, erase });
}

async function readPassword(path: string): Promise<string> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new NexusError('permission_denied', `others can read ${path}; make it private: chmod 600 ${path}`);
    }
    return (await readFile(path, 'utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    throw toNexusError(error).during('read database-password-file');
  }
}

interface SourceSpec {
  readonly driver: typeof pg;
  readonly server: PostgresServer;
  readonly password: string | undefined;
  readonly schema: string;
  readonly tables: Tables;
  /** Undefined for reading connections. */
  readonly session: WritingSession | undefined;
  readonly log: Logger;
}

function dataSourceOptions({ driver, server, password, schema, tables, session, log }: SourceSpec): DataSourceOptions {
  const isWriter = session !== undefined;
  const role = isWriter ? 'writer' : 'reader';
  const parameters = {
    search_path: `"${schema}"`,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    // Acknowledged commits are on disk, whatever the server's default.
    synchronous_commit: 'on',
    default_transaction_read_only: isWriter ? 'off' : 'on',
  };
  return {
    type: 'postgres',
    driver,
    host: server.host,
    port: server.port,
    username: server.user,
    password,
    database: server.database,
    ssl: server.ssl,
    applicationName: `nexus ${schema} ${role}`,
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    poolSize: isWriter ? 1 : READING_CONNECTIONS,
    poolErrorHandler: (error: Error) => {
      log.warn({ role, said: error.message }, 'a connection to PostgreSQL was lost; the next use makes a new one');
    },
    extra: {
      options: Object.entries(parameters)
        .map(([key, value]) => `-c ${key}=${value}`)
        .join(' '),
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
      query_timeout: ANSWER_TIMEOUT_MS,
      // An idle writer keeps its session, because the session holds the lock.
      idleTimeoutMillis: isWriter ? 0 : 60_000,
      ...(isWriter ? { onConnect: (client: pg.Client) => session.begin(client) } : {}),
    },
    entities: [...tables.entities],
    migrations: [...tables.migrations],
    synchronize: false,
    logging: false,
  };
}

/**
 * Checks that names sort in byte order, as on SQLite: listings and their pages must not depend on the server's locale.
 */
async function assertFit(source: DataSource, name: string, log: Logger): Promise<void> {
  const [found] = await source.query<{ collation: string; encoding: string; fsync: string }[]>(
    `SELECT datcollate AS "collation", pg_encoding_to_char(encoding) AS "encoding", current_setting('fsync') AS "fsync"
       FROM pg_database WHERE datname = current_database()`,
  );
  if (found?.encoding !== 'UTF8' || !/^(C|POSIX|C[.]utf-?8)$/i.test(found.collation)) {
    throw new NexusError(
      'failed_precondition',
      `${name} has encoding ${found?.encoding ?? '?'} and collation ${found?.collation ?? '?'}; make one that sorts by bytes: createdb -T template0 -E UTF8 --locale=C.UTF-8 NAME`,
    );
  }
  if (found.fsync !== 'on')
    log.warn('PostgreSQL runs with fsync off: a crash of its host can lose what was acknowledged');
}
