/** The injected structured logger: JSON lines on standard output (journald or a log file take them from there). */
import { AsyncLocalStorage } from 'node:async_hooks';
import { pino, type Logger } from 'pino';

export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Bound to every line that is logged, however deep, while `work` runs: which request it was for. */
export const withRequestId = <Result>(requestId: string, work: () => Result): Result =>
  requestScope.run({ requestId }, work);

const requestScope = new AsyncLocalStorage<{ readonly requestId: string }>();

/** `name` is the process: controller, gateway. Known secret fields are blanked wherever they stand at the first two levels. */
export function createLogger(name: string, level: LogLevel): Logger {
  return pino({
    name,
    level,
    base: { pid: process.pid },
    mixin: () => requestScope.getStore() ?? {},
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
  });
}

const SECRET_FIELDS = ['token', 'password', 'passwordHash', 'otp', 'seed', 'creds', 'authorization'];
