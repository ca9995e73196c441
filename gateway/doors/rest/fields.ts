/**
 * Fields that several routes take. Only what the gateway itself needs is checked here; the controller checks the rest.
 */
import { z } from 'zod';

/** Accepts the longest name or id that there can be; the controller resolves it. */
export const nodeReference = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the id or the name of a node')
  .describe('id, unique beginning of one, or name');

export const fileReference = z
  .string()
  .regex(/^[0-9a-f]{1,64}$/, 'must be the id of a file')
  .describe('id or unique beginning of one');

/** Upper bound only: the controller reports what is wrong with a path. */
const MAX_PATH_CHARACTERS = 4096;
/** Decoders put it in place of bytes that are not UTF-8: two such names would become one. */
const REPLACEMENT = '\ufffd';

export const path = z
  .string()
  .max(MAX_PATH_CHARACTERS)
  .refine((text) => !text.includes(REPLACEMENT), 'must be UTF-8')
  .describe('absolute path, e.g. /photos/cat.jpg');

/** A boolean in a query, where everything is text. */
export const flag = z
  .enum(['true', 'false', '1', '0'])
  .transform((text) => text === 'true' || text === '1')
  .optional()
  .describe('true or false; default false');

export const pageSize = z
  .string()
  .regex(/^\d{1,4}$/, 'must be a number from 1 to 1000')
  .transform(Number)
  .pipe(z.number().int().min(1).max(1000))
  .optional()
  .describe('1 to 1000');

export const pageToken = z.string().max(1024).optional().describe('X-Next-Page-Token of the page before');

/** A number in a query or a multipart body, where everything is text. */
export const replicas = z
  .string()
  .regex(/^\d{1,2}$/, 'must be a number')
  .transform(Number)
  .optional()
  .describe('copies of each chunk; default: the cluster’s');

/** For the OpenAPI document only: bytes are never checked by a schema. */
export const binary = z.string().meta({ type: 'string', format: 'binary' });
