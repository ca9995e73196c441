/**
 * A refusal by the controller names a field of the request; a person typed a flag or an argument. The command's own
 * definition says which fills which, so the error names what was typed. Pure.
 */
import type { NexusError } from '../../shared/errors.js';
import type { AnyCommand } from './command.js';
import { SeveralErrors } from './several.js';

/** Errors that name no field, or one that nobody typed, are answered as they are. */
export function inTypedWords(error: NexusError, command: AnyCommand): NexusError {
  if (error instanceof SeveralErrors) {
    return error.map((one) => inTypedWords(one, command));
  }
  const { field, problem } = error.details;
  if (typeof field !== 'string' || typeof problem !== 'string') return error;
  const typed = typedFor(field, command);
  if (typed === undefined) return error;
  return error.saying(`${typed}: ${problem}`);
}

/** A field within another (`labels.tier`) is filled by what fills the outer one, where nothing fills it alone. */
function typedFor(field: string, command: AnyCommand): string | undefined {
  const fills = ([name, spec]: [string, { readonly field?: string }]): boolean => (spec.field ?? name) === field;
  const flag = Object.entries(command.flags).find(fills);
  if (flag !== undefined) return `--${flag[0]}`;
  const positional = Object.entries(command.positionals).find(fills);
  if (positional !== undefined) return positional[0].toUpperCase();
  const outer = field.slice(0, Math.max(0, field.lastIndexOf('.')));
  return outer === '' ? undefined : typedFor(outer, command);
}
