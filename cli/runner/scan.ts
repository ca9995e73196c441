/**
 * Strict reading of a command line: flags that a command does not know, missing values and wrong numbers of
 * positionals are errors (citty takes all of them in silence). Pure; every error is `invalid_argument`.
 */
import { nearest } from '../../shared/nearest-word.js';
import { NexusError } from '../../shared/errors.js';
import type { AnyCommand, FlagSpec, FlagSpecs } from './command.js';
import { flagHint, OUTPUT_HINTS } from './flag-hints.js';

export interface ScannedFlag {
  readonly name: string;
  /** `true` for a boolean flag. */
  readonly value: string | true;
}

export interface Scanned {
  readonly flags: readonly ScannedFlag[];
  readonly positionals: readonly string[];
  readonly verbatim: readonly string[];
}

interface FlagRead {
  readonly flags: readonly ScannedFlag[];
  /** How many arguments were used. */
  readonly used: number;
}

const isFlag = (arg: string): boolean => arg.length > 1 && arg.startsWith('-');

/** Reads the flag at the head of `args` (with its value, or a bundle of short ones). `where` is the command's words. */
export function readFlag(args: readonly string[], known: FlagSpecs, where: string): FlagRead {
  const [first = '', second] = args;
  return first.startsWith('--') ? readLong(first, second, known, where) : readShort(first, second, known, where);
}

function readLong(arg: string, following: string | undefined, known: FlagSpecs, where: string): FlagRead {
  const equals = arg.indexOf('=');
  const typed = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
  const name = Object.hasOwn(known, typed) ? typed : (nameOfAlias(typed, known) ?? typed);
  const spec = Object.hasOwn(known, name) ? known[name] : undefined;
  if (spec === undefined) throw unknownFlag(`--${name}`, known, where);
  if (equals < 0) return valueAfter(name, spec, following);
  if (spec.type === 'boolean') throw usage(`--${name} takes no value; leave out "${arg.slice(equals)}"`);
  return { flags: [{ name, value: allowed(name, spec, arg.slice(equals + 1)) }], used: 1 };
}

const nameOfAlias = (typed: string, known: FlagSpecs): string | undefined =>
  Object.entries(known).find(([, spec]) => spec.aliases?.includes(typed) === true)?.[0];

/** `-o json`, `-ojson`, `-it`: letters up to the first that takes a value, which is the rest or the next argument. */
function readShort(arg: string, following: string | undefined, known: FlagSpecs, where: string): FlagRead {
  const flags: ScannedFlag[] = [];
  for (let at = 1; at < arg.length; at += 1) {
    const letter = arg.charAt(at);
    const found = Object.entries(known).find(([, spec]) => spec.short === letter);
    if (found === undefined)
      throw unknownFlag(at === 1 && arg.length === 2 ? arg : `-${letter} (in ${arg})`, known, where);
    const [name, spec] = found;
    if (spec.type === 'boolean') {
      flags.push({ name, value: true });
      continue;
    }
    const attached = arg.slice(at + 1);
    if (attached === '') {
      const read = valueAfter(name, spec, following);
      return { flags: [...flags, ...read.flags], used: read.used };
    }
    flags.push({ name, value: allowed(name, spec, attached.replace(/^=/, '')) });
    break;
  }
  return { flags, used: 1 };
}

function valueAfter(name: string, spec: FlagSpec, following: string | undefined): FlagRead {
  if (spec.type === 'boolean') return { flags: [{ name, value: true }], used: 1 };
  if (following === undefined || following === '--') throw usage(`--${name} needs a value${optionsOf(spec)}`);
  return { flags: [{ name, value: allowed(name, spec, following) }], used: 2 };
}

function allowed(name: string, spec: FlagSpec, value: string): string {
  if (spec.type === 'enum' && spec.options?.includes(value) !== true) {
    const hint = name === 'output' && Object.hasOwn(OUTPUT_HINTS, value) ? `; ${OUTPUT_HINTS[value]}` : '';
    throw usage(`--${name} can't be "${value}"${hint === '' ? optionsOf(spec) : hint}`);
  }
  return value;
}

const optionsOf = (spec: FlagSpec): string =>
  spec.options === undefined ? '' : `; give one of ${spec.options.join(', ')}`;

/** Everything after a command's words. What a command hands on begins behind `--`, or with the first word too many. */
export function scanArguments(args: readonly string[], command: AnyCommand, flags: FlagSpecs, where: string): Scanned {
  const found: ScannedFlag[] = [];
  const positionals: string[] = [];
  let at = 0;
  while (at < args.length) {
    const arg = args[at] ?? '';
    if (arg === '--') break;
    if (isFlag(arg)) {
      const read = readFlag(args.slice(at), flags, where);
      found.push(...read.flags);
      at += read.used;
    } else {
      if (command.verbatim !== undefined && positionals.length === Object.keys(command.positionals).length)
        return { flags: found, positionals, verbatim: args.slice(at) };
      positionals.push(arg);
      at += 1;
    }
  }
  const afterDashes = args.slice(at + 1);
  if (command.verbatim !== undefined) return { flags: found, positionals, verbatim: afterDashes };
  return { flags: found, positionals: [...positionals, ...afterDashes], verbatim: [] };
}

/** Too few or too many positionals, required flags or the part after `--` left out: all that is missing at once. */
export function checkCompleteness(scanned: Scanned, command: AnyCommand, where: string): void {
  const wanted = Object.entries(command.positionals);
  if (wanted.at(-1)?.[1].many !== true && scanned.positionals.length > wanted.length) {
    throw usage(`${where} does not take "${scanned.positionals[wanted.length] ?? ''}"; see ${where} --help`);
  }
  const flags = Object.entries(command.flags).filter(
    ([name, spec]) => spec.required === true && !scanned.flags.some((flag) => flag.name === name),
  );
  const missing = [
    ...wanted
      .slice(scanned.positionals.length)
      .filter(([, spec]) => spec.optional !== true)
      .map(([name]) => name.toUpperCase()),
    ...flags.map(([name, spec]) => `--${name} ${spec.hint ?? 'VALUE'}`),
    ...(command.verbatim !== undefined && scanned.verbatim.length === 0 ? [`a ${command.verbatim} after "--"`] : []),
  ];
  if (missing.length === 0) return;
  const [only] = flags;
  const advice = missing.length === 1 && only !== undefined ? only[1].description : `see ${where} --help`;
  throw usage(`${where} needs ${inWords(missing)}; ${advice}`);
}

const inWords = (things: readonly string[]): string =>
  things.length < 2 ? things.join('') : `${things.slice(0, -1).join(', ')} and ${things.at(-1) ?? ''}`;

function unknownFlag(flag: string, known: FlagSpecs, where: string): NexusError {
  const names = Object.entries(known).flatMap(([name, { aliases = [] }]) => [name, ...aliases]);
  const found = nearest(flag, names);
  const hint = flagHint(where, flag);
  if (hint !== undefined) return usage(`unknown flag ${flag}; ${hint}`);
  const near = found === undefined ? undefined : `--${Object.hasOwn(known, found) ? found : nameOfAlias(found, known)}`;
  return usage(`unknown flag ${flag}; ${near === undefined ? `see ${where} --help` : `did you mean ${near}?`}`);
}

export const usage = (message: string): NexusError => new NexusError('invalid_argument', message);
