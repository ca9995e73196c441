/** `nexus node rm` */
import type { RemoveNodeResponse } from '../../shared/gen/nexus/v1/node.js';
import { command } from '../runner/command.js';
import { SLOW_DEADLINE_MS } from '../connect/connection.js';
import { throwFailures, tryEach } from '../runner/several.js';

/** Files that a line names. */
const NAMED = 3;

function removedText({ name, lostFiles, lost }: RemoveNodeResponse): string {
  if (lostFiles.length === 0) return `removed node ${name}`;
  const named = lost.slice(0, NAMED).map((file) => `${file.name} (${file.id})`);
  const rest = lostFiles.length - named.length;
  const files = `${named.join(', ')}${rest > 0 ? `, and ${rest} more` : ''}`;
  return `removed node ${name}; ${lostFiles.length} file(s) lost parts of theirs: ${files}; nexus file ls --lost lists them`;
}

export const remove = command({
  summary: 'remove nodes and their data',
  details:
    'A node with the only copy of a chunk is not removed; --force removes it and names the files that are lost. With several names, each is tried, and every failure is reported.',
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
    const shape = outcome.done.map(({ id, name, lostFiles, lost }) => ({ id, name, lost_files: lostFiles, lost }));
    await context.print(shape, () => outcome.done.map(removedText).join('\n'));
    throwFailures(outcome);
    return 0;
  },
});
