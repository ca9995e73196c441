/** Results for people and programs: JSON, YAML, and borderless tables that fit the terminal. */
import Table from 'cli-table3';
import { stringify } from 'yaml';
import type { Output } from './streams.js';
import { visible } from './visible.js';

export { visible };

export function render(value: unknown, format: 'json' | 'yaml'): string {
  return format === 'json' ? JSON.stringify(value, null, 2) : stringify(value, { lineWidth: 0 }).trimEnd();
}

export interface Column {
  readonly title: string;
  /** May be cut, with an ellipsis, when the table is wider than the terminal. */
  readonly flexible?: true;
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

export function table(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string {
  const fitted = fit(
    columns,
    rows.map((row) => row.map(visible)),
    width,
  );
  const grid = new Table({
    head: columns.map((column) => column.title),
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: columns.map((column) => (column.right === true ? 'right' : 'left')),
  });
  grid.push(...fitted.map((row) => [...row]));
  return grid
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** `key: value` lines under one another, for a single thing. */
export function facts(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length)) + 1;
  return rows.map(([name, value]) => `${`${name}:`.padEnd(width)}  ${visible(value)}`.trimEnd()).join('\n');
}

/** Cuts the widest flexible column, again and again, until the table fits or nothing more can be cut. */
function fit(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): readonly (readonly string[])[] {
  const widths = columns.map((column, at) => Math.max(column.title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const total = (): number => widths.reduce((sum, one) => sum + one, 0) + GAP.length * (columns.length - 1);
  while (total() > width) {
    const widest = widths.reduce(
      (best, one, at) => (columns[at]?.flexible === true && one > (widths[best] ?? 0) ? at : best),
      firstFlexible(columns),
    );
    const current = widths[widest];
    if (current === undefined || current <= LEAST_FLEXIBLE_WIDTH) break;
    widths[widest] = Math.max(LEAST_FLEXIBLE_WIDTH, current - (total() - width));
  }
  return rows.map((row) => row.map((cell, at) => cut(cell, widths[at] ?? cell.length)));
}

const firstFlexible = (columns: readonly Column[]): number => columns.findIndex((column) => column.flexible === true);

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
