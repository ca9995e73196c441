/**
 * A PostgreSQL server of the tests' own: in a private folder, on a Unix socket alone, as an unprivileged user, with a
 * password. Started at its first use, ended and removed with the last test of the run, or of the file where files run side
 * by side; the host's own server, if there is one, is never touched.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PostgresLocation } from '../../controller/store/postgres/open.js';

const VERSIONS = '/usr/lib/postgresql';
const USER = 'nexus';
const DATABASE = 'nexus';
const START_TIMEOUT_MS = 120_000;

/** The newest installed version's programs. */
function programs(): string | undefined {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(VERSIONS, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')));
}

interface Unprivileged {
  readonly uid: number;
  readonly gid: number;
}

/** The server refuses to run as root; undefined: we are nobody special already. */
function serverUser(): Unprivileged | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('nobody:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

export const whyNoPostgres = (): string | undefined =>
  programs() === undefined ? 'there is no PostgreSQL: run deploy/bootstrap.sh --for test' : undefined;

export class TestPostgres {
  readonly folder = mkdtempSync(join(tmpdir(), 'nexus-postgres-'));
  readonly passwordFile = join(this.folder, 'password');
  readonly #bin = programs() ?? '';
  readonly #user = serverUser();
  #server: ChildProcess | undefined;
  #schemas = 0;

  private constructor() {
    if (this.#user !== undefined) chownSync(this.folder, this.#user.uid, this.#user.gid);
    chmodSync(this.folder, 0o711);
    writeFileSync(this.passwordFile, `${randomBytes(12).toString('hex')}\n`);
    if (this.#user !== undefined) chownSync(this.passwordFile, this.#user.uid, this.#user.gid);
    chmodSync(this.passwordFile, 0o600);
  }

  static async start(): Promise<TestPostgres> {
    const postgres = new TestPostgres();
    const data = ['--pgdata', postgres.#data, '--username', USER, '--encoding', 'UTF8', '--locale', 'C.UTF-8'];
    postgres.#run('initdb', ...data, '--auth', 'scram-sha-256', '--pwfile', postgres.passwordFile, '--no-sync');
    await postgres.startServer();
    await postgres.createDatabase(DATABASE);
    return postgres;
  }

  get #data(): string {
    return join(this.folder, 'data');
  }

  #run(program: string, ...args: string[]): void {
    execFileSync(join(this.#bin, program), args, {
      ...this.#user,
      cwd: this.folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }

  async startServer(): Promise<void> {
    const postgres = [join(this.#bin, 'postgres'), '-D', this.#data, '-k', this.folder, '-c', 'listen_addresses='];
    const { uid, gid } = this.#user ?? {};
    const unprivileged = uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
    // It ends with the tests, however those end.
    const server = spawn('setpriv', ['--pdeathsig=INT', ...unprivileged, '--', ...postgres], {
      cwd: this.folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#server = server;
    let said = '';
    const deadline = setTimeout(() => server.kill('SIGKILL'), START_TIMEOUT_MS);
    for await (const data of server.stderr as AsyncIterable<Buffer>) {
      said += data.toString('utf8');
      if (said.includes('database system is ready to accept connections')) break;
    }
    clearTimeout(deadline);
    if (!said.includes('ready to accept')) throw new Error(`PostgreSQL did not start:\n${said}`);
    server.stderr.resume();
  }

  /** SIGINT ends its sessions and then itself; SIGQUIT leaves a recovery to the next start, as a crash does. */
  async stopServer(signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
    // One that did not start has been killed.
    if (this.#server?.exitCode !== null || this.#server.signalCode !== null) return;
    const exited = once(this.#server, 'exit');
    this.#server.kill(signal);
    await exited;
  }

  async createDatabase(name: string, options = ''): Promise<void> {
    await this.query(`CREATE DATABASE "${name}" ${options}`, 'postgres');
  }

  /** As a superuser of the cluster. */
  async query(sql: string, database = DATABASE): Promise<readonly Record<string, unknown>[]> {
    const { default: pg } = await import('pg');
    const password = readFileSync(this.passwordFile, 'utf8').trim();
    const client = new pg.Client({ host: this.folder, user: USER, password, database });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  url(database = DATABASE): string {
    return `postgresql://${USER}@localhost/${database}?host=${this.folder}`;
  }

  /** A schema that nobody has used. */
  location(): PostgresLocation {
    this.#schemas += 1;
    return { url: this.url(), passwordFile: this.passwordFile, schema: `test_${this.#schemas}` };
  }

  async stop(): Promise<void> {
    await this.stopServer('SIGINT');
    rmSync(this.folder, { recursive: true });
  }
}

let shared: Promise<TestPostgres> | undefined;

/** One server for all tests of a process. */
export const testPostgres = (): Promise<TestPostgres> => (shared ??= TestPostgres.start());

/** Mocha calls it after the last test; in a process that runs several files, after the last one of each. */
export const mochaHooks = {
  afterAll: async (): Promise<void> => {
    const used = shared;
    shared = undefined;
    await (await used)?.stop();
  },
};
