/** Help texts: usage, arguments, flags and examples, in plain columns that fit the terminal, if there is one. */
import { GLOBAL_FLAGS, type AnyCommand, type FlagSpec, type FlagSpecs } from './command.js';
import { isGroup, listed, type Group } from './command-group.js';
import { folded } from '../terminal/text-width.js';

const INDENT = '  ';
/** Where a line begins that continues another one. */
const FURTHER = '      ';
/** Puts the term above its explanation where the column beside it would be too narrow. */
const LEAST_BESIDE = 28;

/** `words` is what was typed to get there, beginning with `nexus`. */
export function groupHelp(group: Group, words: string, width: number): string {
  const rows = listed(group).map(([name, entry]): [string, string] => [
    isGroup(entry) ? `${name} ...` : name,
    entry.summary,
  ]);
  return [
    folded(`${words}: ${group.summary}`, width, FURTHER),
    `Usage: ${words} COMMAND [flags]`,
    section('Commands', rows, width),
    section('Flags', flagRows(GLOBAL_FLAGS), width),
    folded(`Help for a command: ${words} COMMAND --help`, width, FURTHER),
  ].join('\n\n');
}

export function commandHelp(command: AnyCommand, words: string, width: number): string {
  const positionals = Object.entries(command.positionals);
  const parts = [
    folded(`${words}: ${command.summary}`, width, FURTHER),
    ...(command.details === undefined ? [] : [folded(command.details, width)]),
    folded(`Usage: ${usageLine(command, words)}`, width, FURTHER),
    section(
      'Arguments',
      positionals.map(([name, spec]) => [name.toUpperCase(), spec.description]),
      width,
    ),
    section('Flags', flagRows(command.flags), width),
    section('Everywhere', flagRows(GLOBAL_FLAGS), width),
    section('Examples', command.examples, width),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function usageLine(command: AnyCommand, words: string): string {
  const positionals = Object.entries(command.positionals).map(([name, spec]) => {
    const shown = `${name.toUpperCase()}${spec.many === true ? '...' : ''}`;
    return spec.optional === true ? `[${shown}]` : shown;
  });
  const required = Object.entries(command.flags)
    .filter(([, spec]) => spec.required === true)
    .map(([name, spec]) => `--${name} ${spec.hint ?? 'VALUE'}`);
  const verbatim = command.verbatim === undefined ? [] : [`-- ${command.verbatim.toUpperCase()}`];
  return [words, '[flags]', ...required, ...positionals, ...verbatim].join(' ');
}

const flagRows = (flags: FlagSpecs): [string, string][] =>
  Object.entries(flags).map(([name, spec]) => [flagTitle(name, spec), spec.description]);

function flagTitle(name: string, spec: FlagSpec): string {
  const value = spec.options?.join('|') ?? spec.hint ?? 'VALUE';
  const short = spec.short === undefined ? '' : `-${spec.short}, `;
  return spec.type === 'boolean' ? `${short}--${name}` : `${short}--${name} ${value}`;
}

function section(title: string, rows: readonly (readonly [string, string])[], width: number): string {
  if (rows.length === 0) return '';
  const left = Math.max(...rows.map(([text]) => text.length));
  const beside = INDENT.length + left + 2;
  const longest = Math.max(...rows.map(([, text]) => text.length));
  const isBeside = width - beside >= Math.min(LEAST_BESIDE, longest);
  const indent = isBeside ? ' '.repeat(beside) : FURTHER;
  const lines = rows.map(([text, meaning]) => {
    const explained = folded(indent + meaning, width, indent);
    if (isBeside) return `${INDENT}${text.padEnd(left)}  ${explained.slice(beside)}`.trimEnd();
    return `${folded(INDENT + text, width, FURTHER)}\n${explained}`;
  });
  return [`${title}:`, ...lines].join('\n');
}
