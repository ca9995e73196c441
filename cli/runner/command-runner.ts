/**
 * A thin layer over citty: finds the command, rejects what it does not know (citty does not), prints help, runs the
 * command, and turns every error into one line on standard error and the exit code of shared/errors.ts.
 */
import { parseArgs, type ArgDef } from 'citty';
import { inCommandWords } from '../../shared/advice/command-words.js';
import { meaningOf, toNexusError, type NexusError } from '../../shared/errors.js';
import { exitCodeOf } from '../../shared/exec.js';
import { nearest } from '../../shared/nearest-word.js';
import { GLOBAL_FLAGS, type AnyCommand, type FlagSpecs } from './command.js';
import { aliasOf, kindsAfter } from './aliases.js';
import { isGroup, listed, type Group, type Leaf } from './command-group.js';
import { COMMANDS } from './command-tree.js';
import { inTypedWords } from './typed-words.js';
import { checkCompleteness, readFlag, scanArguments, usage, type Scanned, type ScannedFlag } from './scan.js';
import { namedError, SeveralErrors } from './several.js';
import { type OutputFormat, type Streams, writeTo } from '../terminal/streams.js';
import { widthOf } from '../terminal/text-width.js';
import { jsonText, visible } from '../terminal/visible.js';

interface Located {
  readonly entry: Group | Leaf;
  /** The words typed to get there, beginning with `nexus`. */
  readonly words: string;
  /** Global flags that stood before or between the words. */
  readonly flags: readonly ScannedFlag[];
  readonly rest: readonly string[];
}

/** Runs one command line and returns its exit code; never throws. */
export async function run(argv: readonly string[], streams: Streams): Promise<number> {
  try {
    return await runCommandLine(argv, streams);
  } catch (thrown) {
    return report(toNexusError(thrown), wantsMachineErrors(argv), streams);
  }
}

async function runCommandLine(argv: readonly string[], streams: Streams): Promise<number> {
  if (argv[0] === '--version' || argv[0] === '-v') return await printVersion(streams);
  const located = locate(argv);
  if (isGroup(located.entry)) return await printGroup(located, located.entry, streams);
  const command = await located.entry.load();
  const flags: FlagSpecs = { ...GLOBAL_FLAGS, ...command.flags };
  const scanned = scanArguments(located.rest, command, flags, located.words);
  const all: Scanned = { ...scanned, flags: [...located.flags, ...scanned.flags] };
  if (asksForHelp(all.flags)) {
    const { commandHelp } = await import('./help-text.js');
    await writeTo(streams.stdout, `${commandHelp(command, located.words, widthOf(streams.stdout))}\n`);
    return 0;
  }
  checkCompleteness(all, command, located.words);
  return await runWithContext(command, all, argv, streams);
}

async function runWithContext(
  command: AnyCommand,
  scanned: Scanned,
  argv: readonly string[],
  streams: Streams,
): Promise<number> {
  const input = inputOf(command, scanned);
  const { openContext, ReplacedByChild } = await import('./context.js');
  await using context = openContext(
    {
      instance: input['instance'] as string | undefined,
      config: input['config'] as string | undefined,
      asUser: input['as'] as string | undefined,
      url: input['url'] as string | undefined,
      local: input['local'] === true,
      output: (input['output'] as OutputFormat | undefined) ?? 'table',
      argv,
    },
    streams,
  );
  try {
    await context.readConfigPipe();
    const exitCode = (await command.run(input, context, scanned.verbatim)) ?? 0;
    return context.interrupts.exitCode ?? exitCode;
  } catch (thrown) {
    if (thrown instanceof ReplacedByChild) return thrown.exitCode;
    const exitCode = report(inTypedWords(toNexusError(thrown), command), wantsMachineErrors(argv), streams);
    return context.interrupts.exitCode ?? exitCode;
  }
}

/** citty supplies types and defaults; its input has been checked and normalized. */
function inputOf(command: AnyCommand, scanned: Scanned): Record<string, unknown> {
  const flags: FlagSpecs = { ...GLOBAL_FLAGS, ...command.flags };
  const canonical = scanned.flags.map(({ name, value }) => (value === true ? `--${name}` : `--${name}=${value}`));
  const parsed = parseArgs([...canonical, '--', ...scanned.positionals], cittyArguments(command, flags));
  const input: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(flags)) {
    const values = scanned.flags.filter((flag) => flag.name === name).map((flag) => flag.value);
    input[name] = spec.type === 'list' ? values : spec.type === 'boolean' ? Boolean(parsed[name]) : parsed[name];
  }
  Object.entries(command.positionals).forEach(([name, spec], index) => {
    input[name] = spec.many === true ? parsed._.slice(index) : parsed._[index];
  });
  return input;
}

function cittyArguments(command: AnyCommand, flags: FlagSpecs): Record<string, ArgDef> {
  const positionals = Object.entries(command.positionals).map(([name, spec]): [string, ArgDef] => [
    name,
    { type: 'positional', required: spec.optional !== true },
  ]);
  const named = Object.entries(flags).map(([name, spec]): [string, ArgDef] => [
    name,
    { type: spec.type === 'boolean' ? 'boolean' : 'string', required: false },
  ]);
  return Object.fromEntries([...positionals, ...named]);
}

/** Follows the words of the command line down the tree; global flags may stand between them. */
function locate(argv: readonly string[]): Located {
  let entry: Group | Leaf = COMMANDS;
  let way: readonly string[] = [];
  let at = 0;
  const flags: ScannedFlag[] = [];
  while (at < argv.length && isGroup(entry)) {
    const arg = argv[at] ?? '';
    if (arg.startsWith('-')) {
      const read = readFlag(argv.slice(at), GLOBAL_FLAGS, wordsOf(way));
      flags.push(...read.flags);
      at += read.used;
      continue;
    }
    at += 1;
    const alias = Object.hasOwn(entry.children, arg) ? undefined : aliasOf(way, arg);
    if (alias?.length === 0) {
      way = kindBehind(arg, argv.slice(at));
      at += 1;
    } else if (typeof alias === 'string') {
      throw usage(`unknown command "${wordsOf([...way, arg])}"; ${alias}`);
    } else {
      way = [...way, ...(alias ?? [arg])];
    }
    entry = entryAt(way);
  }
  // Skips a noun after a command that knows only one kind of thing.
  if (!isGroup(entry) && aliasOf(way, argv[at] ?? '')?.length === 0) at += 1;
  return { entry, words: wordsOf(way), flags, rest: argv.slice(at) };
}

/** Resolves a verb that stands before its noun, as in kubectl. Code: invalid_argument. */
function kindBehind(verb: string, [kind = '', name = '-']: readonly string[]): readonly string[] {
  const isOfOne = verb === 'get' && !name.startsWith('-');
  const meant = (isOfOne ? aliasOf(['describe'], kind) : undefined) ?? aliasOf([verb], kind);
  if (typeof meant === 'object') return meant;
  const typed = `nexus ${verb} ${kind}`.trim();
  throw usage(`unknown command "${typed}"; ${meant ?? `${verb} needs one of: ${kindsAfter(verb).join(', ')}`}`);
}

const wordsOf = (way: readonly string[]): string => ['nexus', ...way].join(' ');

/** Code: invalid_argument. */
function entryAt(way: readonly string[]): Group | Leaf {
  let entry: Group | Leaf = COMMANDS;
  for (const [at, word] of way.entries()) {
    const child: Group | Leaf | undefined =
      isGroup(entry) && Object.hasOwn(entry.children, word) ? entry.children[word] : undefined;
    if (child === undefined) throw unknownCommand(entry, wordsOf(way.slice(0, at)), word);
    entry = child;
  }
  return entry;
}

function unknownCommand(entry: Group | Leaf, words: string, word: string): NexusError {
  const near = isGroup(entry) ? nearest(word, Object.keys(entry.children)) : undefined;
  return usage(
    `unknown command "${words} ${word}"; ${near === undefined ? `see ${words} --help` : `did you mean "${near}"?`}`,
  );
}

const asksForHelp = (flags: readonly ScannedFlag[]): boolean => flags.some((flag) => flag.name === 'help');

async function printGroup(located: Located, group: Group, streams: Streams): Promise<number> {
  if (!asksForHelp(located.flags) && located.words !== 'nexus') {
    throw usage(
      `${located.words} needs a command: ${listed(group)
        .map(([word]) => word)
        .join(', ')}`,
    );
  }
  const { groupHelp } = await import('./help-text.js');
  await writeTo(streams.stdout, `${groupHelp(group, located.words, widthOf(streams.stdout))}\n`);
  return 0;
}

async function printVersion(streams: Streams): Promise<number> {
  const { readVersion } = await import('../local/project.js');
  await writeTo(streams.stdout, `nexus ${readVersion()}\n`);
  return 0;
}

/** The line may be too wrong to be parsed, but a script that asked for JSON must still receive it. */
function wantsMachineErrors(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return /(^| )(-o ?=?|--(output|format)[= ])json( |$)/.test(argv.slice(0, end < 0 ? undefined : end).join(' '));
}

function report(error: NexusError, asJson: boolean, streams: Streams): number {
  if (isBrokenPipe(error.cause)) return exitCodeOf(null, 'SIGPIPE');
  streams.stderr.write(asJson ? `${jsonText(errorShape(error))}\n` : linesOf(error));
  return meaningOf(error.code).exit;
}

function errorShape(error: NexusError): Record<string, unknown> {
  const { code, details } = error;
  const message = inCommandWords(error);
  if (!(error instanceof SeveralErrors)) return { error: message, code, details };
  const failures = error.failures.map(({ name, error: one }) => ({ name, ...errorShape(one) }));
  return { error: message, code, details: { ...details, failures } };
}

function linesOf(error: NexusError): string {
  if (error instanceof SeveralErrors) {
    return error.failures.map((failure) => linesOf(namedError(failure))).join('');
  }
  return `nexus: ${visible(
    inCommandWords(error)
      .trim()
      .replace(/\s*\n\s*/g, '; '),
  )}\n`;
}

/** Nobody reads the output any more (`nexus node ls | head -1`), so nothing is reported. */
const isBrokenPipe = (cause: unknown): boolean => cause instanceof Error && 'code' in cause && cause.code === 'EPIPE';
