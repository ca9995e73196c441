/**
 * Validates a request with a zod schema, and reports one error that names the field as the caller wrote it. Its details
 * hold `field` and `problem` separately, for callers whose users know the field by another name.
 */
import type { z } from 'zod';
import { NexusError } from '../../shared/errors.js';

export function parseRequest<Schema extends z.ZodType>(schema: Schema, request: unknown): z.infer<Schema> {
  const result = schema.safeParse(request);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = (issue?.path.map(String).join('.') ?? '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  // For an invalid key zod's own message lacks the reason, which is in the nested issue.
  const problem = (issue?.code === 'invalid_key' ? issue.issues[0]?.message : issue?.message) ?? 'invalid';
  // A rule about several fields names them itself.
  throw new NexusError('invalid_argument', field === '' ? problem : `${field}: ${problem}`, { field, problem });
}
