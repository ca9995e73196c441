/** Checks input once against a route's schemas; every refusal names the field as the client wrote it. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { Context } from 'koa';
import type { z } from 'zod';
import { jsonDepth, repeatedMember } from '../../shared/json-text.js';
import { Digests } from './digests.js';
import { invalid, wrongMediaType } from './http-error.js';
import type { ReadSmallBody } from './small-body.js';

/** Levels of nesting; more than any event may have. */
const MAX_DEPTH = 256;

/** Existing clients send these with a capital letter. */
const CAPITALISED: readonly string[] = ['Username', 'Password', 'Email', 'Code', 'Runtime'];

const CHARSETS: readonly string[] = ['utf-8', 'utf8', 'us-ascii'];
/** A member that is passed on as written: its content is checked elsewhere. */
const PASSED_ON = 'event';

/** Code: invalid_argument. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, given: unknown, prefix = ''): z.infer<Schema> {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const { issues } = result.error;
  // A misspelled name explains a missing field, not the other way round.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const field = [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])].map(String).join('.');
  throw invalid(field || prefix, unknown === undefined ? (issue?.message ?? 'is invalid') : 'is not a known field');
}

/** A body in both forms: a few values must be passed on exactly as written. */
export interface JsonBody {
  readonly value: unknown;
  readonly text: string;
}

/** Codes: invalid_argument (400, 413, 415), deadline_exceeded (408). */
export async function readJson(context: Context, read: ReadSmallBody, timeoutMs: number): Promise<JsonBody> {
  const request = context.req;
  const type = request.headers['content-type'];
  const digests = Digests.of(request.headers);
  if (!hasBody(request)) {
    digests?.check();
    return { value: {}, text: '{}' };
  }
  if (type !== undefined && !/^application\/(json|[\w.+-]+\+json)\s*(;|$)/i.test(type))
    throw wrongMediaType('application/json');
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(type ?? '')?.[1];
  if (charset !== undefined && !CHARSETS.includes(charset.toLowerCase()))
    throw wrongMediaType('application/json in UTF-8');
  const bytes = await read(context, timeoutMs);
  digests?.update(bytes);
  digests?.check();
  const text = utf8(bytes) || '{}';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid('body', 'must be JSON');
  }
  // Later code may walk the value by recursion.
  if (jsonDepth(text) > MAX_DEPTH) throw invalid('body', `must be nested at most ${MAX_DEPTH} levels deep`);
  const repeated = repeatedMember(text, PASSED_ON);
  if (repeated !== undefined) throw invalid(repeated, 'must be given once');
  return { value: withoutCapitals(value), text };
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

function withoutCapitals(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const known = (name: string): string => {
    const lower = name.toLowerCase();
    return CAPITALISED.includes(name) && !Object.hasOwn(value, lower) ? lower : name;
  };
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [known(name), field]));
}

/** Code: invalid_argument, as invalid bytes must not be replaced silently. */
function utf8(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw invalid('body', 'must be UTF-8');
  return bytes.toString('utf8');
}
