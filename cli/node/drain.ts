/** `nexus node drain` */
import { command } from '../runner/command.js';
import { formatBytes } from '../terminal/format.js';
import type { Controller } from '../connect/connection.js';
import type { Context } from '../runner/context.js';
import { openProgress, type Progress } from '../terminal/progress.js';
import { onEach } from '../runner/several.js';

export const drain = command({
  summary: 'move everything off nodes',
  details:
    'Cordons each node and moves its copies to others; redundancy never falls meanwhile. If the command is interrupted, the drain continues in the background; nexus node uncordon cancels it.',
  positionals: {
    nodes: { description: 'names, ids or unique beginnings of ids', completes: 'node', many: true, field: 'node' },
  },
  flags: { 'no-wait': { type: 'boolean', description: 'begin, and do not wait for the end' } },
  examples: [
    ['nexus node drain web-1', 'then: nexus node rm web-1'],
    ['nexus node drain web-1 web-2', 'both at once: nothing moves from one to the other'],
    ['nexus node drain web-1 --no-wait', 'watch it with nexus status and nexus events'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    return await onEach(
      context,
      input.nodes,
      (node) => drainOne(controller, context, { node, isOne: input.nodes.length === 1, waits: !input['no-wait'] }),
      {
        shape: (drained) => drained,
        text: ({ node, finished, moved_bytes: moved }) =>
          finished
            ? `node ${node} has no copies any more; ${formatBytes(moved)} were moved`
            : `node ${node} is being drained`,
      },
      // All are cordoned before anything is moved far.
      { inFlight: input.nodes.length, afterInterrupt: 'the others continue in the background' },
    );
  },
});

interface Drained {
  readonly node: string;
  readonly finished: boolean;
  readonly moved_bytes: number;
}

async function drainOne(
  controller: Controller,
  context: Context,
  { node, isOne, waits }: { node: string; isOne: boolean; waits: boolean },
): Promise<Drained> {
  let progress: Progress | undefined;
  let before: number | undefined;
  let moved = 0;
  try {
    for await (const { remainingBytes } of controller.messages(controller.node.drainNode({ node }))) {
      if (!waits) break;
      const bytes = Number(remainingBytes);
      if (before === undefined) {
        // Bars of several would be drawn over each other.
        if (isOne) progress = await openProgress(`drain ${node}`, bytes, context.streams.stderr);
        else context.note(`node ${node}: ${formatBytes(bytes)} to move`);
        before = bytes;
      }
      progress?.add(Math.max(0, before - bytes));
      moved += Math.max(0, before - bytes);
      before = Math.min(before, bytes);
    }
  } finally {
    progress?.close();
  }
  context.throwIfInterrupted();
  return { node, finished: waits, moved_bytes: moved };
}
