/**
 * The driver's pool with two additions. A connection that can't be had in time fails with a code: the driver gives its
 * own time-outs none, so they would look like defects. And a connection always has a listener for its end: the pool
 * removes its own when it gives a connection to a caller, who adds one a moment later; an end that is read in between
 * (in the same bytes as the answer that made it ready) would end the process.
 */
import type pg from 'pg';
import { NexusError } from '../../../shared/errors.js';

type OnConnected = (error: Error | undefined, client: pg.PoolClient | undefined, release: () => void) => void;

const coded = (error: Error): Error =>
  error instanceof NexusError || 'code' in error
    ? error
    : new NexusError('unavailable', 'PostgreSQL gave no connection in time; try again', {}, { cause: error });

/**
 * Returns what TypeORM takes as `driver`; it inherits from pg, because a copy would load pg's optional parts. The package
 * is loaded here and nowhere else: it takes a tenth of a controller's start, which a cluster on SQLite spares.
 */
export async function postgresDriver(): Promise<typeof pg> {
  const { default: driver } = await import('pg');
  class CodedPool extends driver.Pool {
    constructor(config?: pg.PoolConfig) {
      super(config);
      // Nothing is lost: requests on a broken connection fail, and the pool takes none back.
      this.on('connect', (client) => client.on('error', () => undefined));
    }

    override connect(): Promise<pg.PoolClient>;
    override connect(callback: OnConnected): void;
    override connect(callback?: OnConnected): Promise<pg.PoolClient> | undefined {
      if (callback === undefined) return super.connect();
      super.connect((error, client, release) => {
        callback(error === undefined ? undefined : coded(error), client, release);
      });
      return undefined;
    }
  }
  return Object.create(driver, { Pool: { value: CodedPool } }) as typeof pg;
}
