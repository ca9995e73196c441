/** Help texts: usage, arguments, flags and examples, in plain columns that need no terminal. */
import { GLOBAL_FLAGS, type AnyCommand, type FlagSpec, type FlagSpecs } from './command.js';
import { isGroup, listed, type Group } from './command-group.js';

/** `words` is what was typed to get there, beginning with `nexus`. */
export function groupHelp(group: Group, words: string): string {
  const rows = listed(group).map(([name, entry]): [string, string] => [
    isGroup(entry) ? `${name} ...` : name,
    entry.summary,
  ]);
  return [
    `${words}: ${group.summary}`,
    `Usage: ${words} COMMAND [flags]`,
    section('Commands', rows),
    section('Flags', flagRows(GLOBAL_FLAGS)),
    `Each command explains itself: ${words} COMMAND --help`,
  ].join('\n\n');
}

export function commandHelp(command: AnyCommand, words: string): string {
  const positionals = Object.entries(command.positionals);
  const parts = [
    `${words}: ${command.summary}`,
    ...(command.details === undefined ? [] : [command.details]),
    `Usage: ${usageLine(command, words)}`,
    section(
      'Arguments',
      positionals.map(([name, spec]) => [name.toUpperCase(), spec.description]),
    ),
    section('Flags', flagRows(command.flags)),
    section('Everywhere', flagRows(GLOBAL_FLAGS)),
    section(
      'Examples',
      command.examples.map(([line, meaning]) => [line, meaning]),
    ),
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

function section(title: string, rows: readonly (readonly [string, string])[]): string {
  if (rows.length === 0) return '';
  const width = Math.max(...rows.map(([left]) => left.length));
  return [`${title}:`, ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd())].join('\n');
}
