/** Results for people and programs: JSON, YAML, and borderless tables that fit the terminal. */
import Table from 'cli-table3';
import { Document, visit } from 'yaml';
import type { Output } from './streams.js';
import { escaped, hasControls, jsonText, visible } from './visible.js';

export { visible };

export function render(value: unknown, format: 'json' | 'yaml'): string {
  if (format === 'json') return jsonText(value, 2);
  const document = new Document(value);
  // Only there can a character be written as its number; YAML itself quotes for the older control characters alone.
  visit(document, {
    Scalar: (_, scalar) => {
      if (typeof scalar.value === 'string' && hasControls(scalar.value)) scalar.type = 'QUOTE_DOUBLE';
    },
  });
  return escaped(document.toString({ lineWidth: 0 }).trimEnd());
}

export interface Column {
  readonly title: string;
  /** May be cut, with an ellipsis, when the table is wider than the terminal. */
  readonly flexible?: true;
  /** What a cut leaves of a flexible column where columns can be left out instead (default 8). */
  readonly least?: number;
  /** May be left out when the terminal is too narrow for all: the columns with the lowest numbers go first. */
  readonly leaveOut?: number;
  readonly right?: true;
}

const GAP = '   ';
/** A cut column still says something. */
const LEAST_FLEXIBLE_WIDTH = 8;

/** Off a terminal nothing is cut: whatever reads it has no width. */
export const widthOf = (output: Output): number =>
  output.isTTY === true && output.columns !== undefined && output.columns > 0
    ? output.columns
    : Number.POSITIVE_INFINITY;

/** Fits the width by leaving columns out, then by cutting flexible ones; off a terminal everything is there. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string {
  const shown = rows.map((row) => row.map(visible));
  const kept = keptColumns(columns, shown, width);
  const pick = <Item>(items: readonly Item[]): Item[] => items.filter((_, at) => kept.has(at));
  const chosen = pick(columns);
  const fitted = fit(
    chosen,
    shown.map((row) => pick(row)),
    width,
  );
  const grid = new Table({
    head: chosen.map((column) => column.title),
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: chosen.map((column) => (column.right === true ? 'right' : 'left')),
  });
  grid.push(...fitted.map((row) => [...row]));
  return grid
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** Prose on lines of at most `width`, broken between words; `indent` begins all but the first. */
export function folded(text: string, width: number, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const begun = line === '' ? word : `${line} ${word}`;
    if (begun.length <= width || line.trim() === '') line = begun;
    else {
      lines.push(line);
      line = `${indent}${word}`;
    }
  }
  return [...lines, line].join('\n');
}

/** `key: value` lines under one another, for a single thing. */
export function facts(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 1;
  return rows.map(([name, value]) => `${`${name}:`.padEnd(width)}  ${visible(value)}`.trimEnd()).join('\n');
}

/** Indexes of the columns that stay: as few as possible go, those that say least first. */
function keptColumns(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): ReadonlySet<number> {
  const needed = columns.map((column, at) => {
    const widest = widthOfColumn(column, rows, at);
    return column.flexible === true ? Math.min(widest, column.least ?? LEAST_FLEXIBLE_WIDTH) : widest;
  });
  const kept = new Set(columns.keys());
  const total = (): number => [...kept].reduce((sum, at) => sum + (needed[at] ?? 0) + GAP.length, -GAP.length);
  const inOrder = [...columns.entries()]
    .filter(([, { leaveOut }]) => leaveOut !== undefined)
    .sort(([, one], [, other]) => (one.leaveOut ?? 0) - (other.leaveOut ?? 0));
  for (const [at] of inOrder) {
    if (total() <= width) break;
    kept.delete(at);
  }
  return kept;
}

const widthOfColumn = ({ title }: Column, rows: readonly (readonly string[])[], at: number): number =>
  Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0));

/** Cuts the widest flexible column, again and again, until the table fits or nothing more can be cut. */
function fit(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): readonly (readonly string[])[] {
  const widths = columns.map((column, at) => widthOfColumn(column, rows, at));
  const total = (): number => widths.reduce((sum, one) => sum + one, 0) + GAP.length * (columns.length - 1);
  const least = (at: number): number => columns[at]?.least ?? LEAST_FLEXIBLE_WIDTH;
  // First down to what each should have at least, then, where that is not enough, further.
  for (const floor of [least, () => LEAST_FLEXIBLE_WIDTH]) {
    while (total() > width) {
      const [widest] = [...columns.keys()]
        .filter((at) => columns[at]?.flexible === true && (widths[at] ?? 0) > floor(at))
        .sort((one, other) => (widths[other] ?? 0) - (widths[one] ?? 0));
      if (widest === undefined) break;
      widths[widest] = Math.max(floor(widest), (widths[widest] ?? 0) - (total() - width));
    }
  }
  return rows.map((row) => row.map((cell, at) => cut(cell, widths[at] ?? cell.length)));
}

const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, width - 1)}…`);

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: GAP,
};
