/**
 * A start of the controller: its settings, its log, and the stack that takes back what was started. A failed start and an
 * orderly end both unwind it; what belongs to nodes that run on is taken back by a failed start only.
 */
import type { Settings } from '../../shared/config/settings.js';
import { toNexusError } from '../../shared/errors.js';
import type { Logger, ProcessLog } from '../../shared/log.js';
import type { UndoStack } from '../../shared/async/undo.js';
import type { Places } from '../hosting/port.js';

export class Starting {
  isUp = false;
  /** Set by the end that erases the instance. */
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

  /** Between two steps of a start. Code: cancelled. */
  throwIfAsked(): void {
    this.asked.throwIfAborted();
  }

  /** Stops waiting when asked to end. Only for work that makes nothing on the host, since it is abandoned, not undone. */
  unlessAsked<T>(waiting: Promise<T>): Promise<T> {
    const { asked } = this;
    return new Promise((resolve, reject) => {
      const onAsked = (): void => {
        reject(toNexusError(asked.reason));
      };
      if (asked.aborted) onAsked();
      asked.addEventListener('abort', onAsked, { once: true });
      void waiting.then(resolve, reject).finally(() => {
        asked.removeEventListener('abort', onAsked);
      });
    });
  }

  /** How the databases end: closed, or erased by a purge. */
  endDatabase(database: { close(): Promise<void>; erase(): Promise<void> }): Promise<void> {
    return this.isPurged ? database.erase() : database.close();
  }
}
