/**
 * One controller per instance: a lock that the kernel releases with the process, however it ends. SQLite's own
 * exclusive file lock serves, because Node has none.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import type { Clock } from '../../shared/async/clock.js';
import { AWAITING_LOCK, LOCK_FILE } from '../../shared/config/instance.js';
import { NexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';

export interface InstanceLock {
  release(): void;
}

/** Codes: already_exists if another controller holds this state folder, data_loss if the lock's file is damaged. */
export function lockInstance(stateDir: string, instance: string): InstanceLock {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, LOCK_FILE);
  const database = new Sqlite(path, { timeout: 0 });
  try {
    database.pragma('journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    const { code } = error as { code?: string };
    if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT') {
      const advice = 'it holds nothing but the lock: remove it, if no controller of this instance runs';
      throw new NexusError('data_loss', `${path} is damaged; ${advice}`, {}, { cause: error });
    }
    if (code !== 'SQLITE_BUSY') throw error;
    const message = `a controller of instance ${instance} is already running on ${stateDir}`;
    throw new NexusError('already_exists', message, {}, { cause: error, advice: { key: 'stop-controller' } });
  }
  return {
    release: () => {
      database.close();
    },
  };
}

/** An ending controller gives running calls, nodes' sandboxes and its own children some seconds each. */
const ENDING_BOUND_MS = 60_000;
const POLL_MS = 50;

export interface LockWait {
  readonly stateDir: string;
  readonly instance: string;
  /** Whether the holder of the lock serves; if so, it will not release it soon. */
  readonly isServing: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * As `lockInstance`, but waits for a holder that does not serve, because it is ending or still starting. Codes:
 * already_exists if it serves, or does not end in time.
 */
export async function awaitInstance({ stateDir, instance, isServing, clock, log }: LockWait): Promise<InstanceLock> {
  const deadline = clock.monotonic() + ENDING_BOUND_MS;
  let isTold = false;
  for (;;) {
    try {
      return lockInstance(stateDir, instance);
    } catch (error) {
      if (!(error instanceof NexusError) || error.code !== 'already_exists') throw error;
      if (clock.monotonic() > deadline || (await isServing().catch(() => true))) throw error;
    }
    if (!isTold)
      log.info(
        { note: AWAITING_LOCK },
        'another controller has the state folder and does not serve: it is ending or starting; waiting',
      );
    isTold = true;
    await clock.sleep(POLL_MS);
  }
}
