/**
 * A start of the controller: its settings, its log, and the stack that undoes what was started. Both a failed start and
 * an orderly end unwind it; only a failed start undoes what belongs to nodes that keep running.
 */
import { onAbort, outcome } from '../../shared/async/wait.js';
import type { Settings } from '../../shared/config/settings.js';
import { toNexusError } from '../../shared/errors.js';
import type { Logger, ProcessLog } from '../../shared/log.js';
import type { UndoStack } from '../../shared/async/undo.js';
import type { Places } from '../hosting/port.js';

export class Starting {
  isUp = false;
  /** Set when the instance is to be erased at its end. */
  isPurged = false;
  readonly log: Logger;

  constructor(
    readonly settings: Settings,
    readonly processLog: ProcessLog,
    readonly places: Places,
    /** Aborted when the controller is asked to end before it is up. */
    readonly asked: AbortSignal,
    readonly running: UndoStack,
  ) {
    this.log = processLog.log;
  }

  defer(name: string, run: () => Promise<void>): void {
    this.running.defer(name, run);
  }

  deferUnlessUp(name: string, run: () => Promise<void>): void {
    this.defer(name, async () => {
      if (!this.isUp) await run();
    });
  }

  /** Called between two steps of a start. Code: cancelled. */
  throwIfAsked(): void {
    this.asked.throwIfAborted();
  }

  /** Stops waiting when asked to end. Only for work that makes nothing on the host, since it is abandoned, not undone. */
  unlessAsked<T>(waiting: Promise<T>): Promise<T> {
    return outcome((resolve, reject) => {
      waiting.then(resolve, reject);
      const gone = onAbort(this.asked, (reason) => reject(toNexusError(reason)));
      return () => gone[Symbol.dispose]();
    });
  }

  /** Ends a database: closes it, or erases it after a purge. */
  endDatabase(database: { close(): Promise<void>; erase(): Promise<void> }): Promise<void> {
    return this.isPurged ? database.erase() : database.close();
  }
}
