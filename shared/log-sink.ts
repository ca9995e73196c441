/**
 * Writes log lines. Logging is never on the critical path: `write` neither waits nor throws, whatever the destination
 * does (a full disk, a reader that stalls or has gone, a device that fails). Lines wait in a bounded queue; those that
 * can't be written are dropped and counted, and the count is logged as soon as a line gets through again.
 * The writer itself bounds the size of our own files, since only it can do so between two lines.
 */
import { constants, fstatSync, openSync, writeSync, write as writeFile, type Stats } from 'node:fs';
import { Socket } from 'node:net';
import { isatty } from 'node:tty';
import { after } from './async/timers.js';
import { until } from './async/wait.js';
import { systemClock } from './async/clock.js';
import { KIB } from './limits.js';

/** Makes the line, newline included, that reports dropped lines. */
export type DropNotice = (dropped: number, why: string) => string;

/** Bounds the size of the destination's file. Called between two writes, never concurrently. */
export interface FileBound {
  /** Bytes after which the file begins anew. */
  readonly maxBytes: number;
  /** Empties the file after saving its content elsewhere. Must not reject. */
  readonly beginAnew: () => Promise<void>;
}

export interface LogSinkOptions {
  readonly notice: DropNotice;
  /** Default: standard output. */
  readonly descriptor?: number;
  readonly bound?: FileBound | undefined;
}

/** Most bytes that may be queued: seconds of a busy log. */
const MAX_WAITING_BYTES = 512 * KIB;
/** Bytes written at once; a longer line goes alone. */
const BATCH_BYTES = 64 * KIB;
/** Wait after a failure. Lines queue meanwhile, and a full disk is tried at most four times a second. */
const RETRY_MS = 250;
/** Time limit for writing queued lines at the end of the process. */
const FINISH_MS = 200;
const FINISH_POLL_MS = 5;

type Done = (error: NodeJS.ErrnoException | null | undefined, written: number) => void;
type WriteBytes = (data: Buffer, done: Done) => void;

export class LogSink {
  readonly #descriptor: number;
  readonly #send: WriteBytes;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** A write was passed to the system and has not completed. */
  #isBusy = false;
  #timer: NodeJS.Timeout | undefined;
  #fileBytes: number;
  #dropped = 0;
  /** Dropped lines that are not yet reported in the log itself. */
  #untold = 0;
  #why = '';
  /** The destination took only part of a line; `#continues`: the rest of it is next in the queue. */
  #isMidLine = false;
  #continues = false;

  constructor(private readonly options: LogSinkOptions) {
    this.#descriptor = options.descriptor ?? 1;
    const stats = statOf(this.#descriptor);
    this.#fileBytes = stats?.isFile() === true ? stats.size : 0;
    this.#send = senderFor(this.#descriptor, stats);
  }

  /** Lines dropped since the start of the process. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Why the destination drops lines at present; empty if it does not. */
  get problem(): string {
    return this.#untold === 0 ? '' : this.#why;
  }

  /** Queues one line, which must end with a newline. */
  write(line: string): void {
    const data = Buffer.from(line);
    if (this.#waitingBytes + data.length > MAX_WAITING_BYTES) {
      this.#drop(1, 'its reader is too slow');
      return;
    }
    this.#waiting.push(data);
    this.#waitingBytes += data.length;
    this.#pump();
  }

  /**
   * Call before an orderly exit: resolves when all lines are written or dropped, or after FINISH_MS. Without it a line
   * that `finish` writes could overtake one still in progress.
   */
  async settled(): Promise<void> {
    await until(() => !this.#isBusy && this.#waiting.length === 0, { everyMs: FINISH_POLL_MS, withinMs: FINISH_MS });
  }

  /** Tries to write the queued lines once more at the end of the process; returns within a moment. */
  finish(): void {
    const deadline = systemClock.monotonic() + FINISH_MS;
    for (let batch = this.#take(); batch !== undefined; batch = this.#take()) {
      for (let at = 0; at < batch.data.length;) {
        try {
          at += writeSync(this.#descriptor, batch.data, at);
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException;
          if (code !== 'EAGAIN' || systemClock.monotonic() > deadline) return;
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FINISH_POLL_MS);
        }
      }
    }
  }

  #pump(): void {
    if (this.#isBusy || this.#timer !== undefined) return;
    const batch = this.#take();
    if (batch === undefined) return;
    this.#isBusy = true;
    this.#send(batch.data, (error, written) => {
      this.#sent(batch, error, written);
      void this.#keepBound().then(() => {
        this.#isBusy = false;
        this.#pump();
      });
    });
  }

  /** Takes the next batch, headed by the notice of lines dropped before it. */
  #take(): Batch | undefined {
    // Without lines the notice goes alone: it also shows whether the destination accepts lines again.
    if (this.#waiting.length === 0 && this.#untold === 0) return undefined;
    const head: Buffer[] = [];
    if (this.#isMidLine && !this.#continues) head.push(Buffer.from('\n'));
    if (this.#untold > 0 && !this.#continues) head.push(Buffer.from(this.options.notice(this.#untold, this.#why)));
    const told = head.length > 0 ? this.#untold : 0;
    this.#untold -= told;
    this.#continues = false;
    const lines: Buffer[] = [];
    let bytes = 0;
    for (let line = this.#waiting.shift(); line !== undefined; line = this.#waiting.shift()) {
      lines.push(line);
      bytes += line.length;
      if (bytes + (this.#waiting[0]?.length ?? 0) > BATCH_BYTES) break;
    }
    this.#waitingBytes -= bytes;
    const data = Buffer.concat([...head, ...lines]);
    return { data, headBytes: data.length - bytes, told };
  }

  #sent({ data, headBytes, told }: Batch, error: NodeJS.ErrnoException | null | undefined, written: number): void {
    this.#fileBytes += written;
    if (written > 0) this.#isMidLine = data[written - 1] !== NEWLINE;
    if (written === data.length) return;
    // The notice was written only in part: it is repeated, together with new losses.
    if (written < headBytes) this.#untold += told;
    const rest = data.subarray(Math.max(written, headBytes));
    // A partial write is retried: a full disk then reports its error, and a held terminal (EAGAIN) takes the rest
    // later.
    const isPutOff = error?.code === 'EAGAIN' || (!error && written > 0);
    if (isPutOff) {
      this.#waiting.unshift(rest);
      this.#waitingBytes += rest.length;
      this.#continues = written > headBytes || (written === headBytes && headBytes > 0);
    } else {
      this.#drop(linesOf(rest), error?.code ?? 'it takes nothing');
    }
    if (error || written === 0) this.#pause();
  }

  #pause(): void {
    this.#timer = after(RETRY_MS, () => {
      this.#timer = undefined;
      this.#pump();
    });
    // Does not keep an idle process alive; `finish` writes the rest.
    this.#timer.unref();
  }

  #drop(lines: number, why: string): void {
    this.#dropped += lines;
    this.#untold += lines;
    this.#why = why;
  }

  async #keepBound(): Promise<void> {
    const { bound } = this.options;
    if (bound === undefined || this.#fileBytes < bound.maxBytes) return;
    await bound.beginAnew();
    this.#fileBytes = 0;
    this.#isMidLine = false;
  }
}

interface Batch {
  readonly data: Buffer;
  /** Bytes before the lines: the newline that ends a cut line, and the notice of dropped lines. */
  readonly headBytes: number;
  /** Dropped lines that the notice reports. */
  readonly told: number;
}

const NEWLINE = 0x0a;

/** Makes the line that reports dropped lines, in the shape of all other lines. */
export const dropNotice =
  (name: string) =>
  (dropped: number, why: string): string => {
    const head = { level: 40, time: new Date(systemClock.now()).toISOString(), pid: process.pid, name };
    return `${JSON.stringify({ ...head, dropped, why, msg: `${dropped} log line(s) were dropped: ${why}` })}\n`;
  };

function linesOf(data: Buffer): number {
  let lines = 0;
  for (let at = data.indexOf(NEWLINE); at !== -1; at = data.indexOf(NEWLINE, at + 1)) lines += 1;
  return lines;
}

function statOf(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor);
  } catch {
    return undefined;
  }
}

function senderFor(descriptor: number, stats: Stats | undefined): WriteBytes {
  if (stats?.isFIFO() === true || stats?.isSocket() === true) return streamSender(descriptor);
  const target = isatty(descriptor) ? ownTerminal(descriptor) : descriptor;
  return (data, done) => {
    writeFile(target, data, 0, data.length, null, (error, written: number | undefined) => {
      done(error, written ?? 0);
    });
  };
}

/**
 * Reopens a terminal as non-blocking, so that held output (Ctrl-S) does not block us; the descriptor itself may be
 * shared with a shell that expects blocking writes.
 */
function ownTerminal(descriptor: number): number {
  try {
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return descriptor;
  }
}

/** Writes to a pipe or socket through the event loop, so that a reader that stalls blocks no thread. */
function streamSender(descriptor: number): WriteBytes {
  let stream: Socket | undefined;
  const open = (): Socket => {
    const opened = new Socket({ fd: descriptor, readable: false, writable: true });
    opened.on('error', () => {
      if (stream === opened) stream = undefined;
    });
    // An open stream does not keep the process alive; a pending write does.
    opened.unref();
    return opened;
  };
  return (data, done) => {
    try {
      stream ??= open();
    } catch (error) {
      done(error as NodeJS.ErrnoException, 0);
      return;
    }
    stream.write(data, (error) => {
      done(error, error ? 0 : data.length);
    });
  };
}
