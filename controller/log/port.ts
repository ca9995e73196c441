/**
 * Logs of processes that outlive the controller, or are not trusted with a file of the host. Each log has a writer
 * process, which outlives the controller and ends once no process can write to its input. Codes: failed_precondition
 * (the host cannot do it), internal.
 */
import type { Socket } from 'node:net';

export interface LogPlace {
  readonly path: string;
  /** File that identifies the writer while it lives; in an existing folder that only root can write to. */
  readonly record: string;
}

/** Standard output and error for a process. */
export interface LogInput {
  /** Can't be reopened through /proc/<pid>/fd, unlike a file. */
  readonly output: Socket | number;
  /** Closes the controller's own end, once the process has its copy. */
  close(): void;
}

export interface LogWriters {
  /** Appends to the log, beginning with `first`. Waits for an earlier writer to end, so that there is only one. */
  open(place: LogPlace, first: string): Promise<LogInput>;
  /**
   * Resolves when everything written is in the log; call after the writing processes have ended. Never rejects, and
   * waits for a bounded time. `mustEnd`: kills a writer that has not ended by then.
   */
  settle(place: LogPlace, mustEnd?: boolean): Promise<void>;
}
