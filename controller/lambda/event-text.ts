/** An event that Python could not read, found by looking at its text alone: it goes to the code as it was written. */
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
