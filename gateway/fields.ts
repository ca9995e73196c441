/** Fields that several routes take. Only what the gateway needs to know is checked here; the rest is the controller's. */
import { z } from 'zod';

/** As long as any name or id can be; what it stands for the controller finds out. */
export const nodeReference = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the id or the name of a node')
  .describe('id, unique beginning of one, or name');

export const fileReference = z
  .string()
  .regex(/^[0-9a-f]{1,64}$/, 'must be the id of a file')
  .describe('id or unique beginning of one');

/** The controller says what is wrong with a path. */
const MAX_PATH_CHARACTERS = 4096;
/** What a decoder puts where bytes were no UTF-8: two such names would be one. */
const REPLACEMENT = '\ufffd';

export const path = z
  .string()
  .max(MAX_PATH_CHARACTERS)
  .refine((text) => !text.includes(REPLACEMENT), 'must be UTF-8')
  .describe('absolute path, e.g. /photos/cat.jpg');

/** Of a query, where everything is text. */
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

/** Of a query or a multipart body, where everything is text. */
export const replicas = z
  .string()
  .regex(/^\d{1,2}$/, 'must be a number')
  .transform(Number)
  .optional()
  .describe('copies of each chunk; default: the cluster’s');

/** For the document alone: bytes are never checked by a schema. */
export const binary = z.string().meta({ type: 'string', format: 'binary' });
