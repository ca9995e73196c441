/**
 * One controller per instance: a lock that the kernel releases with the process, however it ends. SQLite's own
 * exclusive file lock serves, because Node has none.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { LOCK_FILE } from '../../shared/config/instance.js';
import { NexusError } from '../../shared/errors.js';

export interface InstanceLock {
  release(): void;
}

/** Code: already_exists when another controller has this state folder. */
export function lockInstance(stateDir: string, instance: string): InstanceLock {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const database = new Sqlite(join(stateDir, LOCK_FILE), { timeout: 0 });
  try {
    database.pragma('journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
    const message = `a controller of instance ${instance} is already running on ${stateDir}; nexus status shows it, nexus down stops it`;
    throw new NexusError('already_exists', message, {}, { cause: error });
  }
  return {
    release: () => {
      database.close();
    },
  };
}
