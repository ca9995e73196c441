/**
 * Text in cells of a terminal, which are neither characters nor code units: most of CJK and emoji take two, and what is
 * seen as one character may be many code points, none of which is ever cut off the others.
 */
import stringWidth from 'string-width';
import type { Output } from './streams.js';

const ASCII = /^[\x20-\x7e]*$/;
const ELLIPSIS = '…';
/** Made for the first text that is more than ASCII: that takes a twentieth of a command. */
let segmenter: Intl.Segmenter | undefined;

/** Cells that `text` takes; it is on one line and has no control characters. */
export const cellsOf = (text: string): number => (ASCII.test(text) ? text.length : stringWidth(text));

/** Off a terminal nothing is cut or folded: whatever reads it has no width. */
export const widthOf = (output: Output): number =>
  output.isTTY === true && output.columns !== undefined && output.columns > 0
    ? output.columns
    : Number.POSITIVE_INFINITY;

export function padded(text: string, cells: number, isRight = false): string {
  const space = ' '.repeat(Math.max(0, cells - cellsOf(text)));
  return isRight ? space + text : text + space;
}

/** The longest beginning of at most `cells`. */
export function beginningOf(text: string, cells: number): string {
  if (cellsOf(text) <= cells) return text;
  if (ASCII.test(text)) return text.slice(0, Math.max(0, cells));
  return joinedWithin(charactersOf(text), cells).join('');
}

/** The longest end of at most `cells`. */
const endOf = (text: string, cells: number): string =>
  joinedWithin(charactersOf(text).reverse(), cells).reverse().join('');

const charactersOf = (text: string): string[] => {
  segmenter ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
};

function joinedWithin(characters: readonly string[], cells: number): string[] {
  let used = 0;
  let count = 0;
  for (const character of characters) {
    used += cellsOf(character);
    if (used > cells) break;
    count += 1;
  }
  return characters.slice(0, count);
}

/** At most `cells`, with an ellipsis where something is gone: names differ at both ends, so that it stands within them. */
export function cut(text: string, cells: number, where: 'end' | 'middle' = 'end'): string {
  if (cellsOf(text) <= cells) return text;
  if (where === 'end') return beginningOf(text, cells - 1) + ELLIPSIS;
  const end = endOf(text, Math.floor((cells - 1) / 2));
  return beginningOf(text, cells - 1 - cellsOf(end)) + ELLIPSIS + end;
}

/**
 * Prose on lines of at most `cells`, broken between words: one that is longer has a line of its own, which the terminal
 * goes on with so that it can be copied. `indent` begins all lines but the first; spaces at the beginning stay.
 */
export function folded(text: string, cells: number, indent = ''): string {
  if (cellsOf(text) <= cells) return text;
  const [start = ''] = /^ */.exec(text) ?? [];
  const lines: string[] = [];
  let line = start;
  let isEmpty = true;
  for (const word of text.slice(start.length).split(' ')) {
    if (!isEmpty && cellsOf(line) + 1 + cellsOf(word) > cells) {
      lines.push(line.trimEnd());
      line = indent;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line].join('\n');
}

/** Lines of at most `cells`, broken anywhere: together they are the text. */
export function broken(text: string, cells: number): string[] {
  const pieces: string[] = [];
  let rest = text;
  while (rest !== '' && cellsOf(rest) > cells) {
    // However narrow it is: a character on each line.
    const piece = beginningOf(rest, cells) || (charactersOf(rest)[0] ?? rest);
    pieces.push(piece);
    rest = rest.slice(piece.length);
  }
  return rest === '' && pieces.length > 0 ? pieces : [...pieces, rest];
}
