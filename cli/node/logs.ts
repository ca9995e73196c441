/** `nexus node logs` */
import { parseInteger } from '../runner/arguments.js';
import { command } from '../runner/command.js';
import { watchReader } from '../terminal/reader-watch.js';
import { writeTo } from '../terminal/streams.js';
import { visibleLines } from '../terminal/visible.js';

export const logs = command({
  summary: 'the log of a node',
  details:
    'The output of the first stage and the agent of the node since it was created, as JSON lines. A terminal gets control characters as ?, everything else gets the bytes.',
  positionals: { node: { description: 'name, id or unique beginning of an id', completes: 'node' } },
  flags: {
    follow: { type: 'boolean', short: 'f', description: 'continue until Ctrl-C' },
    tail: { type: 'string', short: 'n', hint: 'N', description: 'only the last N lines' },
  },
  examples: [
    ['nexus node logs web-1 --tail 20', 'the last lines'],
    ['nexus node logs web-1 -f', 'and what comes'],
  ],
  run: async (input, context) => {
    const tail = input.tail === undefined ? 0 : parseInteger(input.tail, 'tail', 1, 1_000_000);
    const controller = await context.connect();
    const stream = controller.node.getNodeLogs({ node: input.node, follow: input.follow, tail });
    using _reader = input.follow ? watchReader(context) : undefined;
    const { stdout } = context.streams;
    const decoder = new TextDecoder();
    const shown = (data: Uint8Array): Uint8Array | string =>
      stdout.isTTY === true ? visibleLines(decoder.decode(data, { stream: true })) : data;
    for await (const { data } of controller.messages(stream)) await writeTo(stdout, shown(data), context.signal);
    return 0;
  },
});
