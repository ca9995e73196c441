/** `nexus node ls` and `inspect` */
import { command } from '../runner/command.js';
import { eachNode } from './each-node.js';
import { nodeFacts, nodeTable } from './node-text.js';
import { widthOf } from '../terminal/output.js';
import { nodeShape } from '../runner/shapes.js';

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
  summary: 'everything about nodes',
  positionals: {
    nodes: { description: 'names, ids or unique beginnings of ids', completes: 'node', many: true, field: 'node' },
  },
  flags: {},
  examples: [
    ['nexus node inspect web-1', 'limits, address, volume, last report'],
    ['nexus node inspect web-1 db -o json', 'of several a list'],
  ],
  run: async (input, context) => {
    const { node: client, call } = await context.connect();
    return await eachNode(context, input.nodes, (node) => call(client, client.getNode, { node }), nodeFacts);
  },
});
