/**
 * Logs of processes that outlive the controller, or are not trusted with a file of the host. Each log has a writer of
 * its own, which goes on when the controller ends and ends when nobody can write to its input any more.
 * Codes: failed_precondition (the host cannot do it), internal.
 */
import type { Socket } from 'node:net';

export interface LogPlace {
  readonly path: string;
  /** Names the writer while it lives; in a folder that is there, and root's alone. */
  readonly record: string;
}

/** Standard output and error for a process. */
export interface LogInput {
  /** Can't be opened anew through /proc/<pid>/fd, as a file can. */
  readonly output: Socket | number;
  /** Closes the controller's own end, once the process has its copy. */
  close(): void;
}

export interface LogWriters {
  /** Appends to the log, `first` before anything else. Waits for the end of an earlier writer, so that there is one only. */
  open(place: LogPlace, first: string): Promise<LogInput>;
  /**
   * Resolves when everything that was written is in the log; to be called when those who wrote have ended. Never rejects
   * and waits for a bounded time. `mustEnd`: a writer that has not ended by then is ended.
   */
  settle(place: LogPlace, mustEnd?: boolean): Promise<void>;
}
