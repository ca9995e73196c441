/**
 * Where log lines go. Logging is never on the critical path: `write` neither waits nor throws, whatever the destination
 * does (a full disk, a reader that does not read or has gone, a device that fails). Lines wait in a bounded queue; what
 * can't be written is dropped and counted, and the first line that gets through again says how many.
 * A file of our own is kept within its bound by the writer itself, which alone can do that between two lines.
 */
import { constants, fstatSync, openSync, writeSync, write as writeFile, type Stats } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as setTimeoutAsync } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { KIB } from './limits.js';

/** Makes the line that tells of the dropped ones; with its newline. */
export type DropNotice = (dropped: number, why: string) => string;

/** Bounds the destination's file; called between two writes, never twice at once. */
export interface FileBound {
  /** Bytes after which the file begins anew. */
  readonly maxBytes: number;
  /** Makes the file empty, keeping what it held elsewhere. Must not reject. */
  readonly beginAnew: () => Promise<void>;
}

export interface LogSinkOptions {
  readonly notice: DropNotice;
  /** Default: standard output. */
  readonly descriptor?: number;
  readonly bound?: FileBound | undefined;
}

/** Bytes that wait at most: seconds of a busy log. */
const MAX_WAITING_BYTES = 512 * KIB;
/** Written at once; a line that is longer goes alone. */
const BATCH_BYTES = 64 * KIB;
/** After a failure: lines gather meanwhile, and a full disk is asked four times a second at the most. */
const RETRY_MS = 250;
/** What waits at the end of the process is offered once more, for no longer than this. */
const FINISH_MS = 200;
const FINISH_POLL_MS = 5;

type Done = (error: NodeJS.ErrnoException | null | undefined, written: number) => void;
type WriteBytes = (data: Buffer, done: Done) => void;

export class LogSink {
  readonly #descriptor: number;
  readonly #send: WriteBytes;
  readonly #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** What the system has been given and not taken yet. */
  #isBusy = false;
  #timer: NodeJS.Timeout | undefined;
  #fileBytes: number;
  #dropped = 0;
  /** Dropped, and not told of yet in the log itself. */
  #untold = 0;
  #why = '';
  /** The destination took part of a line, and whether the rest of it is what comes next. */
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

  /** What is wrong with the destination at present; empty: nothing. */
  get problem(): string {
    return this.#untold === 0 ? '' : this.#why;
  }

  /** One line with its newline. */
  write(line: string): void {
    const data = Buffer.from(line);
    if (this.#waitingBytes + data.length > MAX_WAITING_BYTES) {
      this.#drop(1, 'its reader does not keep up');
      return;
    }
    this.#waiting.push(data);
    this.#waitingBytes += data.length;
    this.#pump();
  }

  /**
   * Before an orderly end: resolves when all lines have been taken or dropped, or after FINISH_MS. Without it a line that
   * `finish` writes can come before one that is still on its way.
   */
  async settled(): Promise<void> {
    const deadline = performance.now() + FINISH_MS;
    while ((this.#isBusy || this.#waiting.length > 0) && performance.now() < deadline)
      await setTimeoutAsync(FINISH_POLL_MS);
  }

  /** At the end of the process: offers what waits once more, and returns within a moment. */
  finish(): void {
    const deadline = performance.now() + FINISH_MS;
    for (let batch = this.#take(); batch !== undefined; batch = this.#take()) {
      for (let at = 0; at < batch.data.length;) {
        try {
          at += writeSync(this.#descriptor, batch.data, at);
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException;
          if (code !== 'EAGAIN' || performance.now() > deadline) return;
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

  /** The next batch, after the word on what was dropped before it. */
  #take(): Batch | undefined {
    // Without a line the word on dropped ones goes alone: whether the destination takes lines again is to be known then, too.
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
    // Told only in part: told again, together with what is lost now.
    if (written < headBytes) this.#untold += told;
    const rest = data.subarray(Math.max(written, headBytes));
    // A disk that fills up takes a part, and says of the rest why it can't; a terminal that is held takes it later.
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
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, RETRY_MS);
    // A process that has nothing else to do ends; `finish` has the last word.
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
  /** What stands before the lines: the end of a line that was cut, and the word on dropped ones. */
  readonly headBytes: number;
  /** Dropped lines that the word is about. */
  readonly told: number;
}

const NEWLINE = 0x0a;

/** The line, of the same shape as all others, that says how many are missing. */
export const dropNotice =
  (name: string) =>
  (dropped: number, why: string): string => {
    const head = { level: 40, time: new Date().toISOString(), pid: process.pid, name };
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

/** A terminal whose output is held (Ctrl-S) must not hold us; its descriptor may be shared with a shell that expects to wait. */
function ownTerminal(descriptor: number): number {
  try {
    return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return descriptor;
  }
}

/** A pipe or socket through the event loop: a reader that does not read keeps no thread. */
function streamSender(descriptor: number): WriteBytes {
  let stream: Socket | undefined;
  const open = (): Socket => {
    const opened = new Socket({ fd: descriptor, readable: false, writable: true });
    opened.on('error', () => {
      if (stream === opened) stream = undefined;
    });
    // Its being open keeps nobody alive; a write that is on its way does.
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
