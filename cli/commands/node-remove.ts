/** `nexus node rm` */
import { command } from '../command.js';
import { SLOW_DEADLINE_MS } from '../connection.js';
import { throwFailures, tryEach } from '../several.js';

export const remove = command({
  summary: 'remove nodes and their data',
  details:
    'A node that holds the only copy of some file is refused; --force loses those files, and names them. Of several nodes each that can be removed is; every failure is told.',
  positionals: {
    nodes: { description: 'names, ids or unique beginnings of ids', completes: 'node', many: true, field: 'node' },
  },
  flags: { force: { type: 'boolean', short: 'f', description: 'even if files are lost' } },
  examples: [
    ['nexus node rm web-1 web-2', 'both, with their volumes'],
    ['nexus node rm --force db', 'files that are only there are lost'],
  ],
  run: async (input, context) => {
    const controller = await context.connect();
    const { node: client } = controller;
    const outcome = await tryEach(input.nodes, (node) =>
      controller.call(client, client.removeNode, { node, force: input.force }, SLOW_DEADLINE_MS),
    );
    const shape = outcome.done.map(({ id, name, lostFiles }) => ({ id, name, lost_files: lostFiles }));
    await context.print(shape, (nodes) =>
      nodes
        .map(
          ({ name, lost_files: lost }) => `removed node ${name}${lost.length === 0 ? '' : `; lost ${lost.join(', ')}`}`,
        )
        .join('\n'),
    );
    throwFailures(outcome);
    return 0;
  },
});
