/** `nexus top` */
import { command } from '../command.js';
import type { Controller } from '../connection.js';
import type { Context } from '../context.js';
import { rowsOf } from '../node-rows.js';
import { SORT_KEYS, sortRows, topText, type SortKey, type TopRow } from '../metrics-text.js';
import { widthOf } from '../output.js';
import { Screen } from '../screen.js';
import { nodeShape, plainShape } from '../shapes.js';

const REFRESH_MS = 1000;

/** One letter each, as the help line shows. */
const KEYS: Readonly<Record<string, SortKey>> = {
  a: 'name',
  c: 'cpu',
  m: 'mem',
  p: 'pids',
  v: 'volume',
  n: 'net',
  k: 'chunks',
};
const HELP = 'sort: a name, c cpu, m mem, p pids, v volume, n net, k chunks   q quits';

export const top = command({
  summary: 'what nodes use, live',
  details: 'On a terminal it goes on until q or Ctrl-C; otherwise, and with --once or JSON, it prints once.',
  positionals: {},
  flags: {
    sort: { type: 'enum', options: SORT_KEYS, description: 'by which column (default cpu)' },
    once: { type: 'boolean', description: 'print once' },
  },
  examples: [
    ['nexus top', 'live; keys sort, q quits'],
    ['nexus top --once --sort mem', 'once, the largest first'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const key = (input.sort as SortKey | undefined) ?? 'cpu';
    if (input.once || context.output !== 'table' || context.streams.stdout.isTTY !== true) {
      const rows = sortRows(await rowsOf(controller), key);
      await context.print(rows.map(rowShape), () => topText(rows, widthOf(context.streams.stdout)));
      return 0;
    }
    await watch(controller, context, key);
    return 0;
  },
});

/** `metrics` is null for a node that is not up. */
const rowShape = ({ node, metrics }: TopRow): object => {
  const { id, name, status } = nodeShape(node);
  return { id, name, status, metrics: metrics === undefined ? null : plainShape(metrics) };
};

async function watch(controller: Controller, context: Context, first: SortKey): Promise<void> {
  let key = first;
  let rows: TopRow[] = [];
  using screen = new Screen(context.streams, context.signal);
  const draw = (): void => {
    const busy = rows.filter(({ node }) => node.status === 'Running').length;
    const title = `${new Date().toISOString().slice(11, 19)}  ${rows.length} nodes, ${busy} running, by ${key}`;
    screen.draw([title, '', ...topText(sortRows(rows, key), screen.columns).split('\n')], HELP);
  };
  while (!screen.isClosed) {
    rows = await rowsOf(controller);
    draw();
    const deadline = Date.now() + REFRESH_MS;
    for (let pressed = await screen.key(REFRESH_MS); pressed !== undefined;) {
      key = KEYS[pressed] ?? key;
      draw();
      if (pressed === 'q' || pressed === '\u0003') return;
      pressed = await screen.key(Math.max(0, deadline - Date.now()));
    }
  }
}
