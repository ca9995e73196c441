/**
 * Writes in the order of their requests, one at a time. Writes that wait together share one transaction, because a
 * commit's cost is the disk's sync. Each write of a group has a savepoint of its own, so that a failed one is undone
 * alone; none is acknowledged before the group is durable.
 */
import { setImmediate } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import { deferred } from '../../../shared/async/wait.js';
import { NexusError } from '../../../shared/errors.js';

/** Others wait while a group runs, so it should take no more than a few hundred milliseconds. */
const MAX_GROUP = 64;
/** With more writes waiting the disk is hopelessly behind. */
const MAX_WAITING = 10_000;

export interface Transaction {
  readonly manager: EntityManager;
  /**
   * Throws unless the database itself reports an open transaction. A database that has ended it (as SQLite does on a
   * full disk) would treat the next statement as a transaction of its own, and the release of a savepoint as its
   * commit.
   */
  assertOpen(): void;
}

/**
 * Transactions whose state is read from the database's own connection, never from a library's memory of it. One runs at
 * a time.
 */
export interface Transactions {
  /**
   * Resolves when the database confirms the commit. Rejects when the work is undone or, if the outcome can't be
   * determined, with `unavailable` and the detail `outcome: unknown`.
   */
  run<Result>(work: (transaction: Transaction) => Promise<Result>): Promise<Result>;
}

type Work = (manager: EntityManager) => Promise<unknown>;

interface Waiting {
  readonly work: Work;
  readonly done: (result: unknown) => void;
  readonly failed: (error: unknown) => void;
}

type Outcome = { readonly result: unknown } | { readonly error: unknown };

export class WriteQueue {
  readonly #waiting: Waiting[] = [];
  #draining: Promise<void> | undefined;

  constructor(private readonly transactions: Transactions) {}

  /** Codes, besides the work's own: resource_exhausted, unavailable (with `outcome: unknown`). */
  add<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    if (this.#waiting.length >= MAX_WAITING) {
      const message = `${MAX_WAITING} writes are waiting for the database already; try again in a moment`;
      return Promise.reject(new NexusError('resource_exhausted', message));
    }
    const { promise, resolve, reject } = deferred<Result>();
    this.#waiting.push({ work, done: resolve as Waiting['done'], failed: reject });
    this.#draining ??= this.#drain();
    return promise;
  }

  /** Resolves when no write waits or runs. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
  }

  async #drain(): Promise<void> {
    // Writes requested in the same turn form one group.
    await Promise.resolve();
    for (let group = this.#waiting.splice(0, MAX_GROUP); group.length > 0; group = this.#waiting.splice(0, MAX_GROUP)) {
      await this.#run(group);
      // SQLite answers within the turn: without this, a caller that writes step after step would keep the process from
      // everything else, such as new requests and signs of life of its connections.
      await setImmediate();
    }
    this.#draining = undefined;
  }

  async #run(group: readonly Waiting[]): Promise<void> {
    try {
      const [only] = group;
      const outcomes =
        only !== undefined && group.length === 1
          ? [{ result: await this.transactions.run(({ manager }) => only.work(manager)) }]
          : await this.transactions.run((transaction) => eachOnItsOwn(transaction, group));
      outcomes.forEach((outcome: Outcome, at) => {
        if ('error' in outcome) group[at]?.failed(outcome.error);
        else group[at]?.done(outcome.result);
      });
    } catch (error) {
      for (const { failed } of group) failed(error);
    }
  }
}

async function eachOnItsOwn({ manager, assertOpen }: Transaction, group: readonly Waiting[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { work } of group) {
    assertOpen();
    await manager.query('SAVEPOINT one_write');
    try {
      outcomes.push({ result: await work(manager) });
    } catch (error) {
      // A database that ended the whole transaction by itself (full disk) rejects this, and the group fails with it.
      await manager.query('ROLLBACK TO SAVEPOINT one_write').catch(() => {
        throw error;
      });
      outcomes.push({ error });
    }
    assertOpen();
    await manager.query('RELEASE SAVEPOINT one_write');
  }
  return outcomes;
}
