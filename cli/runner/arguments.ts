/** Values of flags as numbers, sizes and pairs. Pure; every refusal is `invalid_argument` and says what is accepted. */
import { NexusError } from '../../shared/errors.js';
import {
  DEFAULT_CPU_WEIGHT,
  DEFAULT_PIDS_LIMIT,
  GIB,
  KIB,
  MAX_CPU_WEIGHT,
  MAX_PIDS_LIMIT,
  MIB,
  MIN_PIDS_LIMIT,
} from '../../shared/limits.js';

const UNIT_BYTES: Readonly<Record<string, number>> = { K: KIB, M: MIB, G: GIB, T: 1024 * GIB };
const SIZE = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/;

/** A number with a binary unit (K, M, G, T; `MB` and `MiB` mean the same). `bareUnit` is what a number alone counts. */
function parseBytes(text: string, flag: string, bareUnit: string | undefined, advice: string): number {
  const [, digits = '', suffix = ''] = SIZE.exec(text.trim()) ?? [];
  const letter = suffix === '' ? bareUnit : suffix.toUpperCase().replace(/(IB|B)$/, '');
  const unit = letter === undefined ? undefined : UNIT_BYTES[letter];
  if (digits === '') throw wrong(flag, text, advice);
  if (letter === undefined) throw wrong(flag, text, `it needs a unit: ${advice}`);
  if (unit === undefined) throw wrong(flag, text, `"${suffix}" is not a unit: ${advice}`);
  const bytes = Math.round(Number(digits) * unit);
  if (bytes <= 0) throw wrong(flag, text, 'it must be more than zero');
  if (!Number.isSafeInteger(bytes)) throw wrong(flag, text, 'it is too large');
  return bytes;
}

/** `--mem`: megabytes; a bare number counts MB. */
export function parseMemoryMb(text: string, flag = 'mem'): number {
  const bytes = parseBytes(text, flag, 'M', 'give for example 256 (MB), 512M or 1G');
  const megabytes = bytes / MIB;
  if (!Number.isInteger(megabytes)) throw wrong(flag, text, 'it must be whole megabytes');
  // The field that carries it has 32 bits; no machine comes near.
  if (megabytes > 0xffff_ffff) throw wrong(flag, text, 'it is too large');
  return megabytes;
}

/** `--storage`: bytes; a bare number is refused because nobody means bytes and nobody agrees on another unit. */
export const parseStorageBytes = (text: string, flag = 'storage'): bigint =>
  BigInt(parseBytes(text, flag, undefined, 'give for example 512M or 1G'));

/** `--cpu`: a cgroup weight. */
export const parseCpuWeight = (text: string): number =>
  parseInteger(text, 'cpu', 1, MAX_CPU_WEIGHT, `a cgroup weight, by default ${DEFAULT_CPU_WEIGHT}`);

/** `--pids`: processes and threads. */
export const parsePidsLimit = (text: string): number =>
  parseInteger(text, 'pids', MIN_PIDS_LIMIT, MAX_PIDS_LIMIT, `processes and threads, by default ${DEFAULT_PIDS_LIMIT}`);

/** A whole number within bounds; `meaning` is put behind the bounds in the error. */
export function parseInteger(text: string, flag: string, least: number, most: number, meaning = ''): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw wrong(flag, text, `give a whole number from ${least} to ${most}${meaning === '' ? '' : ` (${meaning})`}`);
  }
  return value;
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, '': 1000, ms: 1 };

/** In the largest unit that it is a whole number of. */
function durationText(ms: number): string {
  const [unit = 'ms', factor = 1] = Object.entries(UNIT_MS).find(([, size]) => ms % size === 0) ?? [];
  return `${ms / factor}${unit}`;
}

/** `--grace 500ms`, `10s`, `2m`, `1h`; a bare number counts seconds. Milliseconds. */
export function parseDurationMs(text: string, flag: string, mostMs: number): number {
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/.exec(text) ?? [];
  const ms = Math.round(Number(digits) * (UNIT_MS[unit] ?? 0));
  if (digits === '' || ms < 1) throw wrong(flag, text, 'give for example 500ms, 10s, 2m or 1h');
  if (ms > mostMs) throw wrong(flag, text, `the most is ${durationText(mostMs)}`);
  return ms;
}

/** `k=v` pairs; of two with the same key the last one holds. */
export function parsePairs(texts: readonly string[], flag: string): Record<string, string> {
  const pairs: [string, string][] = texts.map((text) => {
    const equals = text.indexOf('=');
    if (equals < 1) throw wrong(flag, text, 'give KEY=VALUE');
    return [text.slice(0, equals), text.slice(equals + 1)];
  });
  return Object.fromEntries(pairs);
}

/** A flag has a lower-case name; a positional is named in capitals, as in the help text. */
const wrong = (name: string, text: string, advice: string): NexusError => {
  const typed = name === name.toUpperCase() ? name : `--${name}`;
  return new NexusError('invalid_argument', `${typed} can't be "${text}"; ${advice}`, { field: name.toLowerCase() });
};
