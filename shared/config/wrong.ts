/** Builds the error for a wrong setting: its name, what it must be, the value given and its origin. */
import { z } from 'zod';
import { NexusError } from '../errors.js';
import { keyName } from './names.js';
import type { Given } from './sources.js';

/** Settings whose values are never shown: a password may be given by mistake where a file or server is expected. */
export const MAY_HOLD_SECRET = /(Url|PasswordFile|SeedFile|CredsFile|KeyFile)$/;
const MOST_SHOWN = 100;

/** `problem` is the schema's message, used if it begins with "must". */
export function wrongSetting(name: string, field: z.ZodType, given: Given, problem = ''): NexusError {
  const key = keyName(name);
  const must = problem.startsWith('must ') ? problem : mustBe(field);
  const value = MAY_HOLD_SECRET.test(name) ? 'given' : shown(given.value);
  return new NexusError('invalid_argument', `setting ${key}, ${value} ${given.origin}, ${must}`, { field: key });
}

/** Describes the allowed values, also for the sample file; empty if any text is allowed. */
export function allowedOf(field: z.ZodType): string {
  const { enum: options, minimum, maximum } = rulesOf(field);
  if (options !== undefined) return `one of ${options.join(', ')}`;
  if (minimum === undefined || maximum === undefined) return '';
  return `from ${minimum} to ${maximum}`;
}

export const rulesOf = (field: z.ZodType): z.core.JSONSchema.BaseSchema =>
  z.toJSONSchema(field, { io: 'output', unrepresentable: 'any' });

function mustBe(field: z.ZodType): string {
  const allowed = allowedOf(field);
  if (allowed === '') return 'must be text';
  return `must be ${rulesOf(field).type === 'integer' ? 'a whole number ' : ''}${allowed}`;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
}
