/**
 * The driver's pool, with one thing added: a connection that was not had in time fails with a code. The driver gives its
 * own time-outs none, and they could not be told from defects.
 */
import pg from 'pg';
import { NexusError } from '../../shared/errors.js';

type OnConnected = (error: Error | undefined, client: pg.PoolClient | undefined, release: () => void) => void;

class CodedPool extends pg.Pool {
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

const coded = (error: Error): Error =>
  error instanceof NexusError || 'code' in error
    ? error
    : new NexusError('unavailable', 'PostgreSQL gave no connection in time; try again', {}, { cause: error });

/** For TypeORM's `driver`. A copy would load what the driver only offers. */
export const postgresDriver: unknown = Object.create(pg, { Pool: { value: CodedPool } });
