/**
 * Transactions of PostgreSQL's writing connection.
 *
 * The server's answers count, not TypeORM's own count of transactions: the COMMIT of a failed transaction is answered
 * with "ROLLBACK", without an error. If a connection breaks during a COMMIT, its outcome is open: the next session asks
 * the server, which keeps the outcome of each transaction. Only if the server can't be reached does it stay unknown.
 */
import type pg from 'pg';
import { QueryFailedError, type DataSource } from 'typeorm';
import { systemClock } from '../../../shared/async/clock.js';
import { NexusError } from '../../../shared/errors.js';
import type { Transaction, Transactions } from '../typeorm/write-queue.js';

/** Other writers wait meanwhile, and could not write anyway; a restarting server is back by then. */
const OUTCOME_TIMEOUT_MS = 10_000;
const OUTCOME_POLL_MS = 200;
const ROLLBACK_TIMEOUT_MS = 5000;

/** A COMMIT was sent and not answered. */
class Unanswered {
  constructor(
    readonly transaction: string,
    readonly error: unknown,
  ) {}
}

export class PostgresTransactions implements Transactions {
  /** `outcomeTimeoutMs`: how long to ask for the outcome of an unanswered COMMIT. */
  constructor(
    private readonly source: DataSource,
    private readonly outcomeTimeoutMs = OUTCOME_TIMEOUT_MS,
  ) {}

  async run<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result> {
    const { result, unanswered } = await this.#attempt(work);
    if (unanswered === undefined) return result;
    switch (await this.#fateOf(unanswered.transaction)) {
      case 'committed':
        return result;
      case 'aborted':
        throw unanswered.error;
      case 'unknown':
        throw new NexusError(
          'unavailable',
          'the connection to the database broke while the change was being stored, and it is not known whether it was stored; check before you try again',
          { outcome: 'unknown' },
          { cause: unanswered.error },
        );
    }
  }

  /** Releases the only connection before it returns, so that the next one can ask for the transaction's outcome. */
  async #attempt<Result>(
    work: (transaction: Transaction) => Promise<Result>,
  ): Promise<{ readonly result: Result; readonly unanswered: Unanswered | undefined }> {
    const runner = this.source.createQueryRunner();
    try {
      const client = (await runner.connect()) as pg.PoolClient;
      try {
        await runner.startTransaction();
        const assertOpen = (): void => {
          if (client.getTransactionStatus() !== 'T') throw rolledBack();
        };
        const result = await work({ manager: runner.manager, assertOpen });
        assertOpen();
        return { result, unanswered: await commit(client) };
      } finally {
        await leaveClean(client).catch(() => undefined);
      }
    } finally {
      await runner.release().catch(() => undefined);
    }
  }

  async #fateOf(transaction: string): Promise<'committed' | 'aborted' | 'unknown'> {
    const deadline = systemClock.monotonic() + this.outcomeTimeoutMs;
    do {
      // A new session has the schema's lock, which the broken one released at its end: the outcome is final by then.
      const rows = await this.source
        .query<{ fate: string | null }[]>('SELECT txid_status($1) AS "fate"', [transaction])
        .catch(() => undefined);
      const fate = rows?.[0]?.fate;
      if (fate === 'committed' || fate === 'aborted') return fate;
      await systemClock.sleep(OUTCOME_POLL_MS);
    } while (systemClock.monotonic() < deadline);
    return 'unknown';
  }
}

async function commit(client: pg.PoolClient): Promise<Unanswered | undefined> {
  const { rows } = await ask<{ id: string | null }>(client, 'SELECT txid_current_if_assigned()::text AS "id"');
  const id = rows[0]?.id;
  try {
    const { command } = await ask(client, 'COMMIT');
    if (command !== 'COMMIT') throw rolledBack();
    return undefined;
  } catch (error) {
    // If the server answered with an error and the session goes on, the transaction is undone. Without an id it wrote
    // nothing, so there is no outcome to find out.
    const isAnswered = error instanceof NexusError || client.getTransactionStatus() === 'I';
    if (isAnswered || id === undefined || id === null) throw error;
    return new Unanswered(id, error);
  }
}

/** Wraps errors as TypeORM does, because the adapter translates those. */
const ask = <Row extends pg.QueryResultRow>(client: pg.PoolClient, sql: string): Promise<pg.QueryResult<Row>> =>
  client.query<Row>(sql).catch((error: unknown) => {
    throw new QueryFailedError(sql, [], error as Error);
  });

/** Returns a connection to the pool without an open transaction, or closes it. */
async function leaveClean(client: pg.PoolClient): Promise<void> {
  if (client.getTransactionStatus() === 'I') return;
  const rollback: pg.QueryConfig & { query_timeout: number } = { text: 'ROLLBACK', query_timeout: ROLLBACK_TIMEOUT_MS };
  await client.query(rollback).catch(() => undefined);
  if (client.getTransactionStatus() !== 'I') void (client as unknown as pg.Client).end().catch(() => undefined);
}

const rolledBack = (): NexusError =>
  new NexusError('aborted', 'the database rolled the change back, and nothing of it is stored; try again');
