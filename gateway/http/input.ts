/** Checks input once against a route's schemas; every refusal names the field as the client wrote it. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { outcome } from '../../shared/async/wait.js';
import { jsonDepth, repeatedMember } from '../../shared/json-text.js';
import { Digests } from './digests.js';
import { invalid, tooLarge, tooSlow, wrongMediaType } from './http-error.js';

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
export async function readJson(request: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<JsonBody> {
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
  const bytes = await readBytes(request, maxBytes, timeoutMs);
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

function readBytes(request: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  // Refused before anything is read, so that nobody sends it in vain.
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return Promise.reject(tooLarge('body', maxBytes));
  const start = (resolve: (body: Buffer) => void, reject: (error: Error) => void): (() => void) => {
    const parts: Buffer[] = [];
    let size = 0;
    const onData = (part: Buffer): void => {
      size += part.length;
      parts.push(part);
      if (size > maxBytes) reject(tooLarge('body', maxBytes));
    };
    const onEnd = (): void => resolve(Buffer.concat(parts));
    const onClose = (): void => reject(invalid('body', 'broke off'));
    request.on('data', onData).once('end', onEnd).once('error', reject).once('close', onClose);
    return () => {
      request.off('data', onData).off('end', onEnd).off('error', reject).off('close', onClose);
    };
  };
  return outcome(start, { ms: timeoutMs, late: () => tooSlow('the body') });
}
