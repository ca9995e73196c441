/** The injected structured logger: JSON lines on standard output (journald or a log file take them from there). */
import { AsyncLocalStorage } from 'node:async_hooks';
import { fstatSync, statSync } from 'node:fs';
import { pino, type Logger } from 'pino';
import { toNexusError } from './errors.js';
import { beginLogAnew } from './log-files.js';
import { dropNotice, LogSink, type FileBound } from './log-sink.js';

export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Bound to every line that is logged, however deep, while `work` runs: which request it was for. */
export const withRequestId = <Result>(requestId: string, work: () => Result): Result =>
  requestScope.run({ requestId }, work);

const requestScope = new AsyncLocalStorage<{ readonly requestId: string }>();

/** `name` is the process: controller, gateway. Known secret fields are blanked wherever they stand at the first two levels. */
export function createLogger(name: string, level: LogLevel, sink: Pick<LogSink, 'write'> = standardOutput): Logger {
  return pino(
    {
      name,
      level,
      base: { pid: process.pid },
      mixin: () => requestScope.getStore() ?? {},
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    },
    sink,
  );
}

const SECRET_FIELDS = ['token', 'password', 'passwordHash', 'otp', 'seed', 'creds', 'authorization'];

const standardOutput = {
  write: (line: string): void => {
    process.stdout.write(line);
  },
};

/** Runs work that precedes the log, such as loading settings: a failure is one line and exit code 1. */
export function orLastWord<Result>(name: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    const { code, details, message } = toNexusError(error);
    createLogger(name, 'error').fatal({ code, details }, message);
    process.exit(1);
  }
}

export interface ProcessLog {
  readonly log: Logger;
  /** Tells how the log itself does. */
  readonly sink: LogSink;
}

export interface OwnLogFile {
  /** Kept within its bound where standard output is this very file; anybody else's file is only written to. */
  readonly path: string;
  readonly maxBytes: number;
  /** Files that are kept, the present one included. */
  readonly files: number;
}

/**
 * The log of a whole process, and its last words: an error that nobody caught is logged as fatal and ends it with exit
 * code 1. Node itself would write it, and its warnings, to a standard error that may take nothing and hold the process.
 */
export function createProcessLog(name: string, level: LogLevel, file: OwnLogFile): ProcessLog {
  const sink = new LogSink({ notice: dropNotice(name), bound: boundOf(file) });
  const log = createLogger(name, level, sink);
  process.on('exit', () => {
    sink.finish();
  });
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    log.warn({ err: warning }, 'a warning of Node.js');
  });
  process.on('uncaughtException', (error) => {
    log.fatal({ code: 'internal', err: error }, `the ${name} has to end: ${error.message}`);
    process.exit(1);
  });
  return { log, sink };
}

function boundOf({ path, maxBytes, files }: OwnLogFile): FileBound | undefined {
  if (!isStandardOutput(path)) return undefined;
  return { maxBytes, beginAnew: () => beginLogAnew(path, files) };
}

function isStandardOutput(path: string): boolean {
  try {
    const [file, output] = [statSync(path), fstatSync(1)];
    return file.isFile() && file.ino === output.ino && file.dev === output.dev;
  } catch {
    return false;
  }
}
