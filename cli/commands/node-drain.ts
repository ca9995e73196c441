/** `nexus node drain` */
import { command } from '../command.js';
import { formatBytes } from '../format.js';
import { openProgress, type Progress } from '../progress.js';

export const drain = command({
  summary: 'move everything off a node',
  details:
    'Cordons the node and moves its copies to others; redundancy never falls meanwhile. Interrupted, the drain goes on in the background: nexus node uncordon calls it off.',
  positionals: { node: { description: 'name, id or unique beginning of an id', completes: 'node' } },
  flags: { 'no-wait': { type: 'boolean', description: 'begin, and do not wait for the end' } },
  examples: [
    ['nexus node drain web-1', 'then: nexus node rm web-1'],
    ['nexus node drain web-1 --no-wait', 'watch it with nexus status and nexus events'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    let progress: Progress | undefined;
    let before = 0;
    let moved = 0;
    try {
      for await (const { remainingBytes } of controller.messages(controller.node.drainNode({ node: input.node }))) {
        if (input['no-wait']) break;
        const bytes = Number(remainingBytes);
        if (progress === undefined) {
          progress = await openProgress(`drain ${input.node}`, bytes, context.streams.stderr);
          before = bytes;
        }
        progress.add(Math.max(0, before - bytes));
        moved += Math.max(0, before - bytes);
        before = Math.min(before, bytes);
      }
    } finally {
      progress?.stop();
    }
    context.throwIfInterrupted();
    const shape = { node: input.node, finished: !input['no-wait'], moved_bytes: moved };
    await context.print(shape, ({ finished }) =>
      finished
        ? `node ${input.node} holds no copies any more; ${formatBytes(moved)} were moved`
        : `node ${input.node} is being drained`,
    );
    return 0;
  },
});
