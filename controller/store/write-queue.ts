/**
 * Writes in the order they were asked for, one at a time, those that wait for each other in one transaction: what makes
 * a commit slow is the disk's sync, and all that wait can share it. Each write of a group has a savepoint of its own, so
 * that one which fails is undone alone; none is told that it is done before the group is durable.
 */
import type { DataSource, EntityManager } from 'typeorm';
import { NexusError } from '../../shared/errors.js';

/** Others wait while a group runs: it is to be no longer than a few hundred milliseconds. */
const MAX_GROUP = 64;
/** Beyond it the disk is hopelessly behind. */
const MAX_WAITING = 10_000;

export type Work = (manager: EntityManager) => Promise<unknown>;

interface Waiting {
  readonly work: Work;
  readonly done: (result: unknown) => void;
  readonly failed: (error: unknown) => void;
}

type Outcome = { readonly result: unknown } | { readonly error: unknown };

export class WriteQueue {
  readonly #waiting: Waiting[] = [];
  #draining: Promise<void> | undefined;

  constructor(private readonly writer: DataSource) {}

  /** Code, besides the work's own: resource_exhausted. */
  add<Result>(work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    if (this.#waiting.length >= MAX_WAITING) {
      const message = `${MAX_WAITING} writes wait for the database already; try again when it has caught up`;
      return Promise.reject(new NexusError('resource_exhausted', message));
    }
    return new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ work, done: resolve as Waiting['done'], failed: reject });
      this.#draining ??= this.#drain();
    });
  }

  /** Resolves when nothing waits and nothing runs. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
  }

  async #drain(): Promise<void> {
    // Those that are asked for in the same breath become one group.
    await Promise.resolve();
    for (let group = this.#waiting.splice(0, MAX_GROUP); group.length > 0; group = this.#waiting.splice(0, MAX_GROUP))
      await this.#run(group);
    this.#draining = undefined;
  }

  async #run(group: readonly Waiting[]): Promise<void> {
    try {
      const [only] = group;
      const outcomes =
        only !== undefined && group.length === 1
          ? [{ result: await this.writer.transaction(only.work) }]
          : await this.writer.transaction((manager) => eachOnItsOwn(manager, group));
      outcomes.forEach((outcome: Outcome, at) => {
        if ('error' in outcome) group[at]?.failed(outcome.error);
        else group[at]?.done(outcome.result);
      });
    } catch (error) {
      for (const { failed } of group) failed(error);
    }
  }
}

async function eachOnItsOwn(manager: EntityManager, group: readonly Waiting[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { work } of group) {
    await manager.query('SAVEPOINT one_write');
    try {
      outcomes.push({ result: await work(manager) });
    } catch (error) {
      // A database that has ended the whole transaction by itself (a full disk) refuses this, and the group fails with it.
      await manager.query('ROLLBACK TO SAVEPOINT one_write').catch(() => {
        throw error;
      });
      outcomes.push({ error });
    }
    await manager.query('RELEASE SAVEPOINT one_write');
  }
  return outcomes;
}
