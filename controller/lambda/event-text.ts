/**
 * JSON that enters a sandbox as an event, or leaves one as a result. Only the text is checked, because it is passed on
 * unchanged. Both have the same rules, so that a result can be the next event.
 */
import { isUtf8 } from 'node:buffer';
import { jsonDepth, mostDigits } from '../../shared/json-text.js';
import { MAX_EVENT_DEPTH, MAX_EVENT_DIGITS } from './limits.js';

/** Describes what is wrong with the text; undefined: nothing. */
export function problemOfEvent(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return 'must be JSON';
  }
  if (jsonDepth(text) > MAX_EVENT_DEPTH) return `must not be nested deeper than ${MAX_EVENT_DEPTH}`;
  const isTooLong = mostDigits(text) > MAX_EVENT_DIGITS;
  return isTooLong ? `must have no number of more than ${MAX_EVENT_DIGITS} digits` : undefined;
}

export interface HandedBack {
  /** JSON text; undefined: no result, or one that can't be passed on. */
  readonly text?: string;
  readonly problem?: string;
}

/**
 * Checks the bytes of a sandbox's result stream. The code itself can write there, so that only one whole line of JSON
 * counts. Without a line end there is no result: the writer was killed midway, and `12` may be half of `123`.
 */
export function handedBack(bytes: Buffer): HandedBack {
  if (bytes.at(-1) !== NEWLINE) return {};
  const line = bytes.subarray(0, -1);
  if (!isUtf8(line)) return { problem: 'must be UTF-8' };
  if (line.includes(NEWLINE)) return { problem: 'must be one line' };
  const text = line.toString('utf8');
  const problem = problemOfEvent(text);
  return problem === undefined ? { text } : { problem };
}

const NEWLINE = 0x0a;
