/**
 * The only session that writes to a schema of PostgreSQL. It holds an advisory lock while it lives, so that a second
 * controller is refused. A session that replaces a broken one takes the lock before its first transaction, and at once
 * instead of at the next write: an idle controller must not be without the lock.
 */
import type pg from 'pg';
import type { DataSource } from 'typeorm';
import { systemClock } from '../../../shared/async/clock.js';
import { NexusError } from '../../../shared/errors.js';
import type { Logger } from '../../../shared/log.js';

/** The session of a killed controller ends at once, or just after a commit in progress. */
const LOCK_TIMEOUT_MS = 5000;
/** Interval between attempts to reach a server that is away. */
const RENEWAL_PERIOD_MS = 500;
/** First key of our advisory locks, which are one namespace for all programs of a database: "nexu". */
const LOCK_CLASS = 0x6e657875;

export class WritingSession {
  #source: DataSource | undefined;
  #loss: NexusError | undefined;

  constructor(
    private readonly schema: string,
    private readonly log: Logger,
    private readonly lost: (error: NexusError) => void = () => undefined,
  ) {}

  /**
   * Prepares a new connection before its first transaction: takes the lock and makes the schema if it is missing. Code:
   * already_exists (another controller has the lock).
   */
  async begin(client: pg.Client): Promise<void> {
    // Another controller had the lock, so what this one knows is stale, even if the other has gone again.
    if (this.#loss !== undefined) throw this.#loss;
    await takeLock(client, this.schema);
    // Checked first: CREATE SCHEMA needs a right on the database, which this user may lack if the schema was prepared
    // for it.
    const { rows } = await client.query<{ there: boolean }>('SELECT to_regnamespace($1) IS NOT NULL AS there', [
      this.schema,
    ]);
    if (rows[0]?.there !== true) await client.query(`CREATE SCHEMA "${this.schema}"`);
    client.once('end', () => void this.#renew());
  }

  /** Renews broken sessions from now on. */
  keep(source: DataSource): void {
    this.#source = source;
  }

  letGo(): void {
    this.#source = undefined;
  }

  async #renew(): Promise<void> {
    for (let source = this.#source; source !== undefined; source = this.#source) {
      try {
        // Makes a connection, which begins with the lock.
        await source.query('SELECT 1');
        return;
      } catch (error) {
        if (error instanceof NexusError && error.code === 'already_exists') {
          this.#loss = error;
          this.log.error({ schema: this.schema }, 'another controller has taken over the database');
          this.lost(error);
          return;
        }
      }
      await systemClock.sleep(RENEWAL_PERIOD_MS);
    }
  }
}

async function takeLock(client: pg.Client, schema: string): Promise<void> {
  await client.query(`SET lock_timeout = ${LOCK_TIMEOUT_MS}`);
  try {
    await client.query('SELECT pg_advisory_lock($1, hashtext($2))', [LOCK_CLASS, schema]);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== '55P03') throw error;
    const message = `another controller uses the schema ${schema} of this PostgreSQL database; end it, or give each instance a database of its own`;
    throw new NexusError('already_exists', message, {}, { cause: error });
  }
  await client.query('RESET lock_timeout');
}
