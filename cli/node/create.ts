/** `nexus node create` */
import { SLOW_DEADLINE_MS } from '../connect/connection.js';
import { command } from '../runner/command.js';
import { parseCpuWeight, parseMemoryMb, parsePairs, parsePidsLimit, parseStorageBytes } from '../runner/arguments.js';
import { eachNode } from './each-node.js';
import { nodeFacts } from './node-text.js';

export const create = command({
  summary: 'make nodes and start them',
  details:
    'A node is a container with its own namespaces, limits, address and volume, and an agent that owns the volume. The command returns when the agent has reported, or leaves nothing behind. Of several names each that can be made is; every failure is told.',
  positionals: { name: { description: '1 to 63 lower-case letters, digits or "-"', many: true } },
  flags: {
    storage: {
      type: 'string',
      hint: 'SIZE',
      description: 'size of the volume: 512M, 4G (default 1G)',
      field: 'storage_size',
      aliases: ['disk', 'size'],
    },
    mem: {
      type: 'string',
      hint: 'SIZE',
      description: 'memory limit: 256 (MB), 512M, 1G (default 128M)',
      field: 'memory_mb',
      short: 'm',
      aliases: ['memory'],
    },
    cpu: {
      type: 'string',
      hint: 'WEIGHT',
      description: 'cpu weight against other nodes, 1 to 10000 (default 512)',
      field: 'cpu_shares',
      aliases: ['cpu-shares'],
    },
    pids: {
      type: 'string',
      hint: 'N',
      description: 'most processes and threads (default 512)',
      field: 'pids_limit',
      aliases: ['pids-limit'],
    },
    image: { type: 'string', hint: 'NAME', description: 'root file system (default base)', completes: 'image' },
    label: {
      type: 'list',
      hint: 'KEY=VALUE',
      description: 'label; may be given several times',
      field: 'labels',
      short: 'l',
      aliases: ['labels'],
    },
  },
  examples: [
    ['nexus node create web-1', 'a node with the defaults'],
    ['nexus node create web-2 web-3 --storage 4G', 'two of a kind'],
    ['nexus node create db --mem 512M --cpu 1024 --storage 4G --label tier=data', 'limits and a label'],
  ],
  run: async (input, context) => {
    const request = {
      memoryMb: input.mem === undefined ? 0 : parseMemoryMb(input.mem),
      cpuShares: input.cpu === undefined ? 0 : parseCpuWeight(input.cpu),
      storageSize: input.storage === undefined ? 0n : parseStorageBytes(input.storage),
      image: input.image ?? '',
      labels: parsePairs(input.label, 'label'),
      pidsLimit: input.pids === undefined ? 0 : parsePidsLimit(input.pids),
    };
    const { node: client, call } = await context.connect();
    return await eachNode(
      context,
      input.name,
      (name) => call(client, client.createNode, { ...request, name }, SLOW_DEADLINE_MS),
      nodeFacts,
    );
  },
});
