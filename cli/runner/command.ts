/**
 * Defines a command of the CLI: its words come from command-tree.ts, everything else is in one `command({...})`.
 * Definitions load no gRPC, no settings and no tables, so that `--help` is as fast as `--version`.
 */
import { OUTPUT_FORMATS } from '../terminal/streams.js';
import type { Context } from './context.js';

/** Things on the cluster or in the file system that can complete a flag or an argument in shells. */
export type Completes = 'node' | 'file' | 'image' | 'entry' | 'local' | 'command';

export interface FlagSpec {
  /** list: may be given several times; its values are collected. */
  readonly type: 'boolean' | 'string' | 'enum' | 'list';
  readonly description: string;
  /** Its long names in other tools; help and completion do not offer them. */
  readonly aliases?: readonly string[];
  /** One letter, without the dash. */
  readonly short?: string;
  /** Placeholder for the value in the help text. */
  readonly hint?: string;
  /** For `enum`: the allowed values. */
  readonly options?: readonly string[];
  readonly required?: true;
  /** The field of the request that it fills, if named differently: a refusal then names the flag. */
  readonly field?: string;
  readonly completes?: Completes;
}

export interface PositionalSpec {
  readonly description: string;
  readonly optional?: true;
  /** Takes all remaining arguments; only the last positional may. */
  readonly many?: true;
  /** As for flags. */
  readonly field?: string;
  readonly completes?: Completes;
}

export type FlagSpecs = Readonly<Record<string, FlagSpec>>;
export type PositionalSpecs = Readonly<Record<string, PositionalSpec>>;

type FlagValue<F extends FlagSpec> = F['type'] extends 'boolean'
  ? boolean
  : F['type'] extends 'list'
    ? readonly string[]
    : F extends { required: true }
      ? string
      : string | undefined;

type PositionalValue<P extends PositionalSpec> = P extends { many: true }
  ? readonly string[]
  : P extends { optional: true }
    ? string | undefined
    : string;

export type Input<F extends FlagSpecs, P extends PositionalSpecs> = {
  readonly [K in keyof F]: FlagValue<F[K]>;
} & { readonly [K in keyof P]: PositionalValue<P[K]> };

export interface CommandSpec<F extends FlagSpecs = FlagSpecs, P extends PositionalSpecs = PositionalSpecs> {
  readonly summary: string;
  /** Further paragraphs of the help text. */
  readonly details?: string;
  readonly positionals: P;
  readonly flags: F;
  /** Name of the arguments after `--`, which are passed on untouched; without it `--` only ends the flags. */
  readonly verbatim?: string;
  /** Command lines, each with its meaning. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
  /** Returns the exit code; undefined means 0. `verbatim` holds the arguments after `--`. */
  run(input: Input<F, P>, context: Context, verbatim: readonly string[]): Promise<number | undefined>;
}

/** A command whose flags and positionals are known only by name, as the runner uses it. */
export type AnyCommand = Omit<CommandSpec, 'run'> & {
  run(
    input: Readonly<Record<string, unknown>>,
    context: Context,
    verbatim: readonly string[],
  ): Promise<number | undefined>;
};

/** Checks a definition against its own flags and positionals, so that `run` sees exact types. */
export function command<const F extends FlagSpecs, const P extends PositionalSpecs>(
  spec: CommandSpec<F, P>,
): AnyCommand {
  return spec;
}

/** Flags that every command takes, before or after its words. */
export const GLOBAL_FLAGS = {
  instance: { type: 'string', hint: 'NAME', description: 'which cluster of this host (NEXUS_INSTANCE; default nexus)' },
  output: {
    type: 'enum',
    short: 'o',
    aliases: ['format'],
    options: OUTPUT_FORMATS,
    description: 'how results are printed (default table)',
  },
  as: { type: 'string', hint: 'USER', description: 'act for this user (local administrator only)' },
  url: {
    type: 'string',
    hint: 'URL',
    description: 'go through this gateway (NEXUS_URL; default: where you are logged in)',
  },
  local: { type: 'boolean', description: 'this machine, wherever you are logged in' },
  config: {
    type: 'string',
    hint: 'FILE',
    description: 'settings file (NEXUS_CONFIG; default /etc/nexus/nexus.yaml)',
    completes: 'local',
  },
  help: { type: 'boolean', short: 'h', description: 'this text' },
} as const satisfies FlagSpecs;
