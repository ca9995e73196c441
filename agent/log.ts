/**
 * The agent's logger: JSON lines on standard output with pino's field names, so that one reader serves all processes.
 * Written by hand because pino costs each of a hundred agents about a megabyte.
 */
import { systemClock } from '../shared/async/clock.js';

const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;
type Level = keyof typeof LEVELS;

export type LogFields = Readonly<Record<string, unknown>>;

export interface AgentLog {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

/** `bound` fields stand in every line. `write` gets one line with its newline. */
export function createAgentLog(bound: LogFields, least: Level, write: (line: string) => void): AgentLog {
  const at =
    (level: Level) =>
    (fields: LogFields, message: string): void => {
      if (LEVELS[level] < LEVELS[least]) return;
      const head = {
        level: LEVELS[level],
        time: new Date(systemClock.now()).toISOString(),
        pid: process.pid,
        name: 'agent',
        ...bound,
      };
      write(`${JSON.stringify({ ...head, ...fields, msg: message }, plainErrors)}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** An Error's own properties are not enumerable: without this it would be written as {}. */
function plainErrors(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (!(value instanceof Error)) return value;
  const code = 'code' in value ? { code: value.code } : {};
  return { type: value.name, message: value.message, ...code, stack: value.stack };
}
