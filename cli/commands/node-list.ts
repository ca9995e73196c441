/** `nexus node ls` and `inspect` */
import { command } from '../command.js';
import { expectNode, nodeFacts, nodeTable } from '../node-text.js';
import { widthOf } from '../output.js';
import { nodeShape } from '../shapes.js';

export const list = command({
  summary: 'list all nodes',
  positionals: {},
  flags: {},
  examples: [
    ['nexus node ls', 'a table'],
    ['nexus node ls --output json', 'for scripts: a bare array'],
  ],
  run: async (_input, context) => {
    const controller = await context.connect();
    const { nodes } = await controller.call(controller.node, controller.node.listNodes, {});
    await context.print(nodes.map(nodeShape), () => nodeTable(nodes, widthOf(context.streams.stdout)));
    return 0;
  },
});

export const inspect = command({
  summary: 'everything about one node',
  positionals: { node: { description: 'name, id or unique beginning of an id', completes: 'node' } },
  flags: {},
  examples: [['nexus node inspect web-1', 'limits, address, volume, last report']],
  run: async (input, context) => {
    const controller = await context.connect();
    const { node } = await controller.call(controller.node, controller.node.getNode, { node: input.node });
    await context.print(nodeShape(expectNode(node)), () => nodeFacts(expectNode(node)));
    return 0;
  },
});
