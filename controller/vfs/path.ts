/**
 * Paths of the virtual file system: absolute, `/`-separated, in Unicode form NFC. `.` and `..` resolve before anything
 * else is looked at, and nothing leads above the topmost folder. Pure.
 */
import { MAX_NAME_BYTES, MAX_PATH_BYTES } from '../../shared/limits.js';
import { NexusError } from '../../shared/errors.js';
import type { Names } from '../store/port/fs.js';

/** C0 and C1: either kind can steer a terminal that lists the name. */
const CONTROL = /\p{Cc}/u;
/** Halves of characters, which no UTF-8 can hold. */
const LONE_SURROGATE = /\p{Cs}/u;

/** Code: invalid_argument. `field` is what the request calls it. */
export function parsePath(text: string, field = 'path'): Names {
  const refuse = (problem: string): NexusError =>
    new NexusError('invalid_argument', `${field}: ${problem}`, { field, problem });
  if (text === '') throw refuse('must not be empty; it begins with "/"');
  if (!text.startsWith('/')) throw refuse(`must begin with "/"; did you mean "/${text}"?`);
  if (Buffer.byteLength(text) > MAX_PATH_BYTES) throw refuse(`must be at most ${MAX_PATH_BYTES} bytes`);
  if (CONTROL.test(text)) throw refuse('must hold no control characters');
  if (LONE_SURROGATE.test(text)) throw refuse('must be well-formed Unicode');
  const names: string[] = [];
  for (const name of text.normalize('NFC').split('/')) {
    if (name === '..') names.pop();
    else if (name !== '' && name !== '.') names.push(name);
  }
  // Normalising can make them longer.
  const long = names.find((name) => Buffer.byteLength(name) > MAX_NAME_BYTES);
  if (long !== undefined) throw refuse(`a name must be at most ${MAX_NAME_BYTES} bytes`);
  return names;
}

/** As parsePath, of something that can be made, moved or removed. Code: invalid_argument (the topmost folder). */
export function parseOwnPath(text: string, field = 'path'): Names {
  const names = parsePath(text, field);
  if (names.length > 0) return names;
  const problem = 'is the topmost folder, which is always there';
  throw new NexusError('invalid_argument', `${field}: ${problem}`, { field, problem });
}
