/**
 * Collects the settings that are given in the file, by variables and by flags. Each value keeps its origin, so that an
 * error can say where to change it. An empty value in the file or a variable counts as not given.
 */
import { statSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { NexusError } from '../errors.js';
import { DEFAULT_INSTANCE } from './instance.js';
import { MIB } from '../limits.js';
import { nearest } from '../nearest-word.js';
import { readTextNow, readTextSoon } from '../text-now.js';
import { environmentName, keyName } from './names.js';

export interface Given {
  /** Text, or any YAML value if it comes from the file. */
  readonly value: unknown;
  /** Completes an error message, e.g. "in the variable NEXUS_INSTANCE". */
  readonly origin: string;
}

export type GivenSettings = ReadonlyMap<string, Given>;

export interface Sources {
  readonly flags: Readonly<Record<string, string | number | undefined>>;
  readonly env: NodeJS.ProcessEnv;
  /** Undefined: `/etc/nexus/nexus.yaml`, when it exists. */
  readonly file: string | undefined;
  /** The file's content, if it has been read already. */
  readonly text?: string | undefined;
}

const DEFAULT_FILE = '/etc/nexus/nexus.yaml';
/** The sample with all settings has some 20 KB. */
const MOST_FILE_BYTES = MIB;

/** Returns the given settings by name; flags win over variables, variables over the file. Code: invalid_argument. */
export function givenSettings({ flags, env, file, text }: Sources, names: readonly string[]): GivenSettings {
  assertNoneMistyped(env, names);
  const given = new Map(fromFile({ path: file, read: text }, env, names));
  for (const name of names) {
    const value = env[environmentName(name)];
    if (isGiven(value)) given.set(name, { value, origin: `in the variable ${environmentName(name)}` });
  }
  for (const [name, value] of Object.entries(flags)) {
    if (value !== undefined) given.set(name, { value: String(value), origin: `by the flag --${keyName(name)}` });
  }
  return given;
}

/**
 * Of other programs there may be variables that begin alike (Kubernetes sets NEXUS_SERVICE_PORT for a service of that
 * name), so fewer edits than in the settings file, where every key is meant for Nexus.
 */
const MOST_EDITS_OF_VARIABLE = 3;

/** Refuses a variable that is like a setting's. Others are none of ours, or of a tool. */
function assertNoneMistyped(env: NodeJS.ProcessEnv, names: readonly string[]): void {
  const known = new Set(names.map(environmentName));
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || known.has(variable) || !isGiven(value)) continue;
    const bare = variable.slice(PREFIX.length).toLowerCase().replaceAll('_', '-');
    const near = nearest(bare, names.map(keyName), MOST_EDITS_OF_VARIABLE);
    if (near === undefined) continue;
    const meant = `${PREFIX}${near.toUpperCase().replaceAll('-', '_')}`;
    const message = `unknown variable ${variable}; did you mean ${meant}? If it is of another program, unset it for Nexus`;
    throw new NexusError('invalid_argument', message, { field: variable });
  }
}

const PREFIX = 'NEXUS_';

const isGiven = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

interface SettingsFile {
  readonly path: string | undefined;
  readonly read: string | undefined;
}

/**
 * Reads the settings from a pipe, with a wait that signals end; undefined if the path is not a pipe. Throws
 * the reason of `signal`. Code: deadline_exceeded.
 */
export async function readSettingsPipe(path: string, signal: AbortSignal): Promise<string | undefined> {
  if (statSync(path, { throwIfNoEntry: false })?.isFIFO() !== true) return undefined;
  return await readTextSoon(path, MOST_FILE_BYTES, signal).catch((error: unknown) => {
    throw error instanceof NexusError && !signal.aborted ? error.during('settings file') : error;
  });
}

function fromFile({ path, read }: SettingsFile, env: NodeJS.ProcessEnv, names: readonly string[]): [string, Given][] {
  const file = path ?? DEFAULT_FILE;
  let text: string;
  try {
    text = read ?? readTextNow(file, MOST_FILE_BYTES);
  } catch (error) {
    if (error instanceof NexusError) throw error.during('settings file');
    if (path === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw unreadable(file, error as NodeJS.ErrnoException);
  }
  // The system-wide file describes the default instance; another instance is described by its own --config.
  const instance = env['NEXUS_INSTANCE'];
  if (path === undefined && instance !== undefined && instance !== DEFAULT_INSTANCE) return [];
  const parsed = z.record(z.string(), z.unknown()).nullish().safeParse(parseYaml(file, text));
  if (!parsed.success) throw new NexusError('invalid_argument', `${file} must be a YAML mapping of settings`);
  const byKey = new Map(names.map((name) => [keyName(name), name]));
  return Object.entries(parsed.data ?? {}).flatMap(([key, value]): [string, Given][] => {
    const name = byKey.get(key);
    if (name === undefined) throw unknownSetting(file, key, [...byKey.keys()]);
    if (!isGiven(value)) return [];
    return [[name, { value: typeof value === 'number' ? String(value) : value, origin: `in the file ${file}` }]];
  });
}

/** Keys are also written as the variables are, or as in code. */
function unknownSetting(file: string, key: string, keys: readonly string[]): NexusError {
  const near = nearest(
    key
      .toLowerCase()
      .replace(/^nexus_/, '')
      .replaceAll('_', '-'),
    keys,
  );
  const advice = near === undefined ? `${SAMPLE} has them all` : `did you mean "${near}"?`;
  return new NexusError('invalid_argument', `${file}: unknown setting "${key}"; ${advice}`, { field: key });
}

const SAMPLE = 'nexus.sample.yaml (in deploy/, and beside the settings of an installation)';

function unreadable(file: string, error: NodeJS.ErrnoException): NexusError {
  const why = UNREADABLE[error.code ?? ''] ?? `it cannot be read (${error.message})`;
  const message = `settings file ${file}: ${why}; name another with --config or NEXUS_CONFIG, or give neither`;
  return new NexusError('invalid_argument', message, { file }, { cause: error });
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'you may not read it',
  EISDIR: 'it is a folder',
};

function parseYaml(file: string, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    const [what = ''] = (error as Error).message.split('\n');
    throw new NexusError('invalid_argument', `settings file ${file} is not YAML: ${what}`, { file }, { cause: error });
  }
}
