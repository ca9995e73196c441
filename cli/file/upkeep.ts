/** `nexus file scrub`, `nexus file rebalance` */
import type { ScrubFilesResponse } from '../../shared/gen/nexus/v1/file.js';
import { NexusError } from '../../shared/errors.js';
import { parseInteger } from '../runner/arguments.js';
import { command } from '../runner/command.js';
import { formatBytes } from '../terminal/format.js';
import { table, widthOf } from '../terminal/output.js';
import { openProgress } from '../terminal/progress.js';

/** MB a second: far beyond any disk. */
const MAX_RATE_MB = 100_000;

export const scrub = command({
  summary: 'read every copy back and repair what is damaged',
  details: 'Each node reads its own chunks. nexus events shows the findings; repair starts at once.',
  positionals: {},
  flags: {
    node: { type: 'string', hint: 'NODE', description: 'only this one', completes: 'node' },
    rate: { type: 'string', hint: 'MB', description: 'MB a second on each node (default: as fast as it goes)' },
  },
  examples: [
    ['nexus file scrub', 'all running nodes'],
    ['nexus file scrub --node web-1 --rate 10', 'one node, gently'],
  ],
  run: async (input, context) => {
    const rateMb = input.rate === undefined ? 0 : parseInteger(input.rate, 'rate', 1, MAX_RATE_MB);
    const controller = await context.connect();
    const progress = await openProgress('scrub', 0, context.streams.stderr);
    const nodes = new Map<string, ScrubFilesResponse>();
    try {
      for await (const said of controller.messages(controller.file.scrubFiles({ node: input.node ?? '', rateMb }))) {
        progress.add(Number(said.checkedBytes - (nodes.get(said.node)?.checkedBytes ?? 0n)));
        nodes.set(said.node, said);
      }
    } finally {
      progress.close();
    }
    context.throwIfInterrupted();
    const shapes = [...nodes.values()].map(({ node, checkedChunks, checkedBytes, bad }) => ({
      node,
      checked_chunks: Number(checkedChunks),
      checked_bytes: Number(checkedBytes),
      bad: Number(bad),
    }));
    await context.print(shapes, (rows) =>
      table(
        [
          { title: 'NODE', flexible: 'middle' },
          { title: 'CHUNKS', right: true },
          { title: 'READ', right: true },
          { title: 'BAD', right: true },
        ],
        rows.map((row) => [row.node, String(row.checked_chunks), formatBytes(row.checked_bytes), String(row.bad)]),
        widthOf(context.streams.stdout),
      ),
    );
    const bad = shapes.reduce((sum, shape) => sum + shape.bad, 0);
    if (bad === 0) return 0;
    throw new NexusError(
      'data_loss',
      `${bad} copies are bad; nexus events shows which, nexus status the progress of the repair`,
    );
  },
});

export const rebalance = command({
  summary: 'make the nodes equally full',
  details:
    'Moves copies from full to empty nodes, after a node was added for example. If it is interrupted, moved copies stay moved.',
  positionals: {},
  flags: {},
  examples: [['nexus file rebalance', 'ends when the nodes differ by less than a chunk']],
  run: async (_input, context) => {
    const controller = await context.connect();
    const progress = await openProgress('rebalance', 0, context.streams.stderr);
    const result = { moved_chunks: 0, moved_bytes: 0, imbalance_percent: 0 };
    try {
      for await (const said of controller.messages(controller.file.rebalanceFiles({}))) {
        progress.add(Number(said.movedBytes) - result.moved_bytes);
        result.moved_chunks = Number(said.movedChunks);
        result.moved_bytes = Number(said.movedBytes);
        result.imbalance_percent = said.imbalancePercent;
      }
    } finally {
      progress.close();
    }
    context.throwIfInterrupted();
    await context.print(
      result,
      ({ moved_chunks: chunks, moved_bytes: bytes, imbalance_percent: percent }) =>
        `moved ${chunks} chunk(s), ${formatBytes(bytes)}; the nodes differ by ${percent.toFixed(1)} % of their volumes`,
    );
    return 0;
  },
});
