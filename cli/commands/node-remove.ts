/** `nexus node rm` */
import { command } from '../command.js';
import { SLOW_DEADLINE_MS } from '../connection.js';

export const remove = command({
  summary: 'remove nodes and their data',
  details: 'A node that holds the only copy of some file is refused; --force loses those files, and names them.',
  positionals: { nodes: { description: 'names, ids or unique beginnings of ids', many: true } },
  flags: { force: { type: 'boolean', short: 'f', description: 'even if files are lost' } },
  examples: [
    ['nexus node rm web-1 web-2', 'both, with their volumes'],
    ['nexus node rm --force db', 'files that are only there are lost'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const requests = input.nodes.map((node) => ({ node, force: input.force }));
    const results = await Promise.allSettled(
      requests.map((request) =>
        controller.call(controller.node, controller.node.removeNode, request, SLOW_DEADLINE_MS),
      ),
    );
    const removed = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const shape = removed.map(({ id, name, lostFiles }) => ({ id, name, lost_files: lostFiles }));
    await context.print(shape, (nodes) =>
      nodes
        .map(
          ({ name, lost_files: lost }) => `removed node ${name}${lost.length === 0 ? '' : `; lost ${lost.join(', ')}`}`,
        )
        .join('\n'),
    );
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return 0;
  },
});
