/** Results for people and programs: JSON, YAML, and borderless tables that fit the terminal. */
import { Document, visit } from 'yaml';
import { broken, cellsOf, cut, folded, padded } from './text-width.js';
import { escaped, hasControls, jsonText, visible } from './visible.js';

export { widthOf } from './text-width.js';
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
  /**
   * How the column shrinks when the table is wider than the terminal: `end` and `middle` cut there, with an ellipsis;
   * `words` and `anywhere` wrap, between words or wherever a line is full. Values that users type are cut only in the middle,
   * and only if the row has another one to type; prose is never cut.
   */
  readonly flexible?: 'end' | 'middle' | 'words' | 'anywhere';
  /** Least width of a flexible column where other columns can be left out instead (default 8). */
  readonly least?: number;
  /** May be left out when the terminal is too narrow for all: the columns with the lowest numbers go first. */
  readonly leaveOut?: number;
  readonly right?: true;
}

const GAP = '   ';
/** A cut column still says something. */
const LEAST_FLEXIBLE_WIDTH = 8;

/** Fits the width by leaving columns out, then by making flexible ones narrower; off a terminal everything is there. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string {
  const shown = rows.map((row) => row.map(visible));
  const natural = columns.map(({ title }, at) =>
    shown.reduce((widest, row) => Math.max(widest, cellsOf(row[at] ?? '')), cellsOf(title)),
  );
  const kept = keptColumns(columns, natural, width);
  const chosen = kept.map((at) => columns[at] ?? { title: '' });
  const widths = fit(
    chosen,
    kept.map((at) => natural[at] ?? 0),
    width,
  );
  const titles = chosen.map(({ title }) => [title]);
  const cells = shown.map((row) =>
    chosen.map(({ flexible }, at) => fitted(row[kept[at] ?? 0] ?? '', widths[at], flexible)),
  );
  return [titles, ...cells].flatMap((row) => linesOf(row, chosen, widths)).join('\n');
}

/** A cell's lines. */
function fitted(cell: string, width = 0, flexible: Column['flexible'] = 'end'): string[] {
  if (flexible === 'anywhere') return broken(cell, width);
  if (flexible === 'words')
    return folded(cell, width)
      .split('\n')
      .flatMap((line) => broken(line, width));
  return [cut(cell, width, flexible)];
}

/** A row is as many lines as its tallest cell. */
const linesOf = (
  row: readonly (readonly string[])[],
  columns: readonly Column[],
  widths: readonly number[],
): string[] => {
  const height = Math.max(1, ...row.map((cell) => cell.length));
  return Array.from({ length: height }, (_, line) =>
    row
      .map((cell, at) => padded(cell[line] ?? '', widths[at] ?? 0, columns[at]?.right))
      .join(GAP)
      .trimEnd(),
  );
};

/** `key: value` lines under one another, for a single thing; what is too long for `width` goes on below itself. */
export function facts(rows: readonly (readonly [string, string])[], width = Number.POSITIVE_INFINITY): string {
  const longest = Math.max(...rows.map(([name]) => name.length)) + 3;
  const indent = ' '.repeat(longest);
  const line = ([name, value]: readonly [string, string]): string =>
    `${`${name}:`.padEnd(longest)}${folded(indent + visible(value), width, indent).slice(longest)}`.trimEnd();
  return rows.map(line).join('\n');
}

/** Indexes of the columns that stay: as few as possible go, those that say least first. */
function keptColumns(columns: readonly Column[], natural: readonly number[], width: number): readonly number[] {
  const needed = columns.map(({ flexible, least = LEAST_FLEXIBLE_WIDTH }, at) =>
    flexible === undefined ? (natural[at] ?? 0) : Math.min(natural[at] ?? 0, least),
  );
  const kept = new Set(columns.keys());
  const total = (): number => [...kept].reduce((sum, at) => sum + (needed[at] ?? 0) + GAP.length, -GAP.length);
  const inOrder = [...columns.entries()]
    .filter(([, { leaveOut }]) => leaveOut !== undefined)
    .sort(([, one], [, other]) => (one.leaveOut ?? 0) - (other.leaveOut ?? 0));
  for (const [at] of inOrder) {
    if (total() <= width) break;
    kept.delete(at);
  }
  return [...kept];
}

/** Makes the widest flexible column narrower, again and again, until the table fits or nothing more can be taken. */
function fit(columns: readonly Column[], natural: readonly number[], width: number): readonly number[] {
  const widths = [...natural];
  const total = (): number => widths.reduce((sum, one) => sum + one, 0) + GAP.length * (columns.length - 1);
  const least = (at: number): number => columns[at]?.least ?? LEAST_FLEXIBLE_WIDTH;
  // First down to what each should have at least, then, where that is not enough, further.
  for (const floor of [least, () => LEAST_FLEXIBLE_WIDTH]) {
    while (total() > width) {
      const [widest] = [...columns.keys()]
        .filter((at) => columns[at]?.flexible !== undefined && (widths[at] ?? 0) > floor(at))
        .sort((one, other) => (widths[other] ?? 0) - (widths[one] ?? 0));
      if (widest === undefined) break;
      widths[widest] = Math.max(floor(widest), (widths[widest] ?? 0) - (total() - width));
    }
  }
  return widths;
}
