/** `nexus node create` */
import { SLOW_DEADLINE_MS } from '../connection.js';
import { command } from '../command.js';
import { parseCpuWeight, parseMemoryMb, parsePairs, parsePidsLimit, parseStorageBytes } from '../arguments.js';
import { expectNode, nodeFacts } from '../node-text.js';
import { nodeShape } from '../shapes.js';

export const create = command({
  summary: 'make a node and start it',
  details:
    'A node is a container with its own namespaces, limits, address and volume, and an agent that owns the volume. The command returns when the agent has been heard, or leaves nothing behind.',
  positionals: { name: { description: '1 to 63 lower-case letters, digits or "-"' } },
  flags: {
    storage: {
      type: 'string',
      required: true,
      hint: 'SIZE',
      description: 'size of the volume: 512M, 1G',
      field: 'storage_size',
    },
    mem: {
      type: 'string',
      hint: 'SIZE',
      description: 'memory limit: 256 (MB), 512M, 1G (default 128M)',
      field: 'memory_mb',
    },
    cpu: {
      type: 'string',
      hint: 'WEIGHT',
      description: 'cpu weight against other nodes, 1 to 10000 (default 512)',
      field: 'cpu_shares',
    },
    pids: { type: 'string', hint: 'N', description: 'most processes and threads (default 512)', field: 'pids_limit' },
    image: { type: 'string', hint: 'NAME', description: 'root file system (default base)', completes: 'image' },
    label: { type: 'list', hint: 'KEY=VALUE', description: 'label; may be given several times', field: 'labels' },
  },
  examples: [
    ['nexus node create web-1 --storage 1G', 'a node with the defaults'],
    ['nexus node create db --mem 512M --cpu 1024 --storage 4G --label tier=data', 'limits and a label'],
  ],
  run: async (input, context) => {
    const request = {
      name: input.name,
      memoryMb: input.mem === undefined ? 0 : parseMemoryMb(input.mem),
      cpuShares: input.cpu === undefined ? 0 : parseCpuWeight(input.cpu),
      storageSize: parseStorageBytes(input.storage),
      image: input.image ?? '',
      labels: parsePairs(input.label, 'label'),
      pidsLimit: input.pids === undefined ? 0 : parsePidsLimit(input.pids),
    };
    const controller = await context.connect();
    const { node } = await controller.call(controller.node, controller.node.createNode, request, SLOW_DEADLINE_MS);
    await context.print(nodeShape(expectNode(node)), () => nodeFacts(expectNode(node)));
    return 0;
  },
});
