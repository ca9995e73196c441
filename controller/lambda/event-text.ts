/**
 * JSON that goes into a sandbox as an event, and that comes out of one as a result: judged by its text alone, for it is
 * passed on as it was written. Both are held to the same, so that a result can be the next event.
 */
import { isUtf8 } from 'node:buffer';
import { jsonDepth, mostDigits } from '../../shared/json-text.js';
import { MAX_EVENT_DEPTH, MAX_EVENT_DIGITS } from './limits.js';

/** What is wrong with it; undefined: nothing. */
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
  /** JSON text; undefined: nothing was handed back, or nothing that can be passed on. */
  readonly text?: string;
  readonly problem?: string;
}

/**
 * Judges what came on a sandbox's result stream. The code itself can write there, so that only one whole line of JSON
 * counts. Without the end of its line it is nothing: whatever wrote it was ended midway, and `12` may be half of `123`.
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
