/** `nexus top` */
import { inCommandWords } from '../../shared/advice/command-words.js';
import { command } from '../runner/command.js';
import type { Controller } from '../connect/connection.js';
import type { Context } from '../runner/context.js';
import { LiveRows, rowsOf } from './live-rows.js';
import { SORT_KEYS, sortRows, topText, type SortKey, type TopRow } from './metrics-text.js';
import { widthOf } from '../terminal/output.js';
import { Screen } from '../terminal/screen.js';
import { nodeShape, plainShape } from '../runner/shapes.js';
import { notAnswering } from '../connect/silent-controller.js';
import { folded } from '../terminal/text-width.js';

/** Figures are taken again each second; beyond this somebody who looks at them has to know that they are old. */
const OLD_AFTER_MS = 3000;
/** How often their age is told. */
const REDRAW_MS = 1000;
const CTRL_C = '\u0003';

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
  details: 'On a terminal it runs until q or Ctrl-C; otherwise, and with --once or JSON, it prints once.',
  positionals: {},
  flags: {
    sort: { type: 'enum', options: SORT_KEYS, description: 'by which column (default cpu)' },
    once: { type: 'boolean', aliases: ['no-stream'], description: 'print once' },
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

/** `metrics` is null for a node that is down or Lost. */
const rowShape = ({ node, metrics }: TopRow): object => {
  const { id, name, status } = nodeShape(node);
  return { id, name, status, metrics: metrics === undefined ? null : plainShape(metrics) };
};

async function watch(controller: Controller, context: Context, first: SortKey): Promise<void> {
  let key = first;
  using screen = new Screen(context.streams, context.signal);
  using live = new LiveRows(controller, () => {
    screen.wake();
  });
  while (!screen.isClosed) {
    if (live.failure !== undefined) throw live.failure;
    const silence = live.ageMs < OLD_AFTER_MS ? [] : silenceLines(live, context, screen.columns);
    screen.draw([...silence, ...pictureLines(live, key, screen.columns)], HELP);
    const pressed = await screen.key(REDRAW_MS);
    if (pressed === 'q') return;
    if (pressed === CTRL_C) context.interrupts.receive('SIGINT');
    key = KEYS[pressed ?? ''] ?? key;
  }
}

/** The time is that of the figures. */
function pictureLines({ rows, answeredAt }: LiveRows, key: SortKey, columns: number): string[] {
  if (rows === undefined) return ['the controller is asked'];
  const busy = rows.filter(({ node }) => node.status === 'Running').length;
  const title = `${answeredAt.toISOString().slice(11, 19)}  ${rows.length} nodes, ${busy} running, by ${key}`;
  return [title, '', ...topText(sortRows(rows, key), columns).split('\n')];
}

/** Above the figures, which may fill the screen. */
function silenceLines(live: LiveRows, context: Context, columns: number): string[] {
  const { place } = context;
  const seconds = Math.floor(live.ageMs / 1000);
  const age = live.rows === undefined ? `no answer for ${seconds} s` : `these figures are ${seconds} s old`;
  const why =
    place.kind === 'local'
      ? inCommandWords(notAnswering(context.settings))
      : `the cluster at ${place.url} does not answer; check nexus status on its machine`;
  return [...folded(`${age}: ${why}`, columns).split('\n'), ''];
}
