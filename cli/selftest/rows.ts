/** Runs an escape suite and prints a row for each attack. */
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Context } from '../runner/context.js';
import { table, widthOf } from '../terminal/output.js';
import type { Attack, Verdict } from './attack.js';

export interface Row {
  readonly name: string;
  readonly tried: string;
  readonly held: boolean;
  readonly by: string;
}

/** `--only TEXT` of all suites. */
export const ONLY = { type: 'string', hint: 'TEXT', description: 'only attacks whose name holds it' } as const;

/** Those whose name has the text. Code: not_found. */
export function chosen<A extends { readonly name: string }>(attacks: readonly A[], only = ''): A[] {
  const found = attacks.filter(({ name }) => name.includes(only));
  if (found.length === 0) throw new NexusError('not_found', `no attack has "${only}" in its name`);
  return found;
}

/** One attack after the other. A step that could not be carried out has proved nothing. */
export async function carryOut<Step, Result>(
  { name, tried, steps, judge }: Attack<Step, Result>,
  run: (step: Step) => Promise<Result>,
): Promise<Row> {
  const results: Result[] = [];
  const row = (verdict: Verdict): Row => ({ name, tried, ...verdict });
  try {
    for (const step of steps) results.push(await run(step));
    return row(judge(results));
  } catch (error) {
    // Any other error concerns the whole cluster: every further attack would only repeat it.
    const { code, message } = toNexusError(error);
    if (code !== 'unavailable') throw error;
    return row({ held: false, by: `not carried out: ${message}` });
  }
}

/** The exit code: 1 when something got through. */
export async function printRows(context: Context, rows: readonly Row[]): Promise<number> {
  await context.print(rows, () => asTable(rows, widthOf(context.streams.stdout)));
  const through = rows.filter(({ held }) => !held).length;
  context.note(`${rows.length - through} of ${rows.length} attacks were stopped`);
  return through === 0 ? 0 : 1;
}

const asTable = (rows: readonly Row[], width: number): string =>
  table(
    [
      { title: 'ATTACK' },
      { title: 'RESULT' },
      { title: 'TRIED', leaveOut: 1, least: 24, flexible: 'words' },
      { title: 'STOPPED BY', least: 20, flexible: 'words' },
    ],
    rows.map(({ name, tried, held, by }) => [name, held ? 'stopped' : 'GOT THROUGH', tried, by]),
    width,
  );
