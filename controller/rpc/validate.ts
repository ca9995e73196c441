/** The edge's check of a request: a zod schema, and one error that names the field in the way the caller wrote it. */
import type { z } from 'zod';
import { NexusError } from '../../shared/errors.js';

export function parseRequest<Schema extends z.ZodType>(schema: Schema, request: unknown): z.infer<Schema> {
  const result = schema.safeParse(request);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = (issue?.path.map(String).join('.') ?? '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  throw new NexusError('invalid_argument', `${field === '' ? 'request' : field}: ${issue?.message ?? 'invalid'}`, {
    field,
  });
}
