/** Kinds of columns for entities, of types that SQLite and PostgreSQL both know. */
import type { EntitySchemaColumnOptions } from 'typeorm';

/** PostgreSQL returns 64-bit numbers as text; sizes and times stay below 2^53. */
export const bigint = (name: string): EntitySchemaColumnOptions => ({
  type: 'bigint',
  name,
  transformer: { to: (value: unknown) => value, from: Number },
});
export const text = (name: string): EntitySchemaColumnOptions => ({ type: 'text', name });
export const integer = (name: string): EntitySchemaColumnOptions => ({ type: 'integer', name });
