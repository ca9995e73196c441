/** `nexus node start`, `stop`, `restart`, `cordon`, `uncordon`, `resize`: one node in, its new state out. */
import { parseCpuWeight, parseDurationMs, parseMemoryMb, parsePidsLimit } from '../arguments.js';
import { command, type AnyCommand } from '../command.js';
import { SLOW_DEADLINE_MS, type Controller } from '../connection.js';
import type { Context } from '../context.js';
import type { Node } from '../../shared/gen/nexus/v1/node.js';
import { expectNode } from '../node-text.js';
import { usage } from '../scan.js';
import { nodeShape } from '../shapes.js';

const NODE = { node: { description: 'name, id or unique beginning of an id', completes: 'node' } } as const;
const MAX_GRACE_MS = 600_000;

type Verb = (controller: Controller, request: { node: string }) => Promise<{ node?: Node | undefined }>;

async function show(context: Context, node: Node | undefined): Promise<number> {
  const found = expectNode(node);
  const cordoned = found.cordoned ? ' and cordoned' : '';
  await context.print(nodeShape(found), () => `node ${found.name} is ${found.status}${cordoned}`);
  return 0;
}

const verb = (name: string, summary: string, meaning: string, call: Verb): AnyCommand =>
  command({
    summary,
    positionals: NODE,
    flags: {},
    examples: [[`nexus node ${name} web-1`, meaning]],
    run: async (input, context) => {
      const { node } = await call(await context.connect(), { node: input.node });
      return await show(context, node);
    },
  });

export const start = verb('start', 'start a stopped node', 'its data is as it was', (controller, request) =>
  controller.call(controller.node, controller.node.startNode, request, SLOW_DEADLINE_MS),
);

export const restart = verb('restart', 'stop a node and start it', 'its data stays', (controller, request) =>
  controller.call(controller.node, controller.node.restartNode, request, SLOW_DEADLINE_MS),
);

export const cordon = verb(
  'cordon',
  'place nothing new on a node',
  'what it has stays readable',
  (controller, request) => controller.call(controller.node, controller.node.cordonNode, request),
);

export const uncordon = verb('uncordon', 'let a node take new data again', 'ends a cordon', (controller, request) =>
  controller.call(controller.node, controller.node.uncordonNode, request),
);

export const stop = command({
  summary: 'stop a node, keeping its data',
  positionals: NODE,
  flags: {
    grace: {
      type: 'string',
      hint: 'TIME',
      description: 'what the agent gets to finish: 500ms, 10s (default 10s)',
      field: 'grace_ms',
    },
  },
  examples: [
    ['nexus node stop web-1', 'running transfers may finish'],
    ['nexus node stop web-1 --grace 500ms', 'soon'],
  ],
  run: async (input, context) => {
    const graceMs = input.grace === undefined ? 0 : parseDurationMs(input.grace, 'grace', MAX_GRACE_MS);
    const controller = await context.connect();
    const { node } = await controller.call(
      controller.node,
      controller.node.stopNode,
      { node: input.node, graceMs },
      SLOW_DEADLINE_MS,
    );
    return await show(context, node);
  },
});

export const resize = command({
  summary: 'change the limits of a node',
  details: 'Takes effect at once on a running node.',
  positionals: NODE,
  flags: {
    mem: { type: 'string', hint: 'SIZE', description: 'memory limit: 256 (MB), 512M, 1G', field: 'memory_mb' },
    cpu: { type: 'string', hint: 'WEIGHT', description: 'cpu weight, 1 to 10000', field: 'cpu_shares' },
    pids: { type: 'string', hint: 'N', description: 'most processes and threads', field: 'pids_limit' },
  },
  examples: [['nexus node resize web-1 --mem 512M', 'more memory, without a restart']],
  run: async (input, context) => {
    if ((input.mem ?? input.cpu ?? input.pids) === undefined) {
      throw usage('nothing to change; give at least one of --mem, --cpu and --pids');
    }
    const request = {
      node: input.node,
      memoryMb: input.mem === undefined ? 0 : parseMemoryMb(input.mem),
      cpuShares: input.cpu === undefined ? 0 : parseCpuWeight(input.cpu),
      pidsLimit: input.pids === undefined ? 0 : parsePidsLimit(input.pids),
    };
    const controller = await context.connect();
    const { node } = await controller.call(controller.node, controller.node.resizeNode, request);
    return await show(context, node);
  },
});
