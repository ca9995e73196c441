/** `nexus node start`, `stop`, `restart`, `cordon`, `uncordon`, `resize`: one node in, its new state out. */
import { parseCpuWeight, parseDurationMs, parseMemoryMb, parsePidsLimit } from '../runner/arguments.js';
import { command, type AnyCommand } from '../runner/command.js';
import { SLOW_DEADLINE_MS, type Controller } from '../connect/connection.js';
import type { Node } from '../../shared/gen/nexus/v1/node.js';
import { eachNode, oneLine } from './each-node.js';
import { usage } from '../runner/scan.js';
import { NexusError, toNexusError } from '../../shared/errors.js';

const NODE = { node: { description: 'name, id or unique beginning of an id', completes: 'node' } } as const;
const NODES = {
  nodes: { description: 'names, ids or unique beginnings of ids', completes: 'node', many: true, field: 'node' },
} as const;
const MAX_GRACE_MS = 600_000;

/** The controller finishes these once begun, even if the caller goes away. */
const GOES_ON = 'what had begun continues; nexus node ls shows the result';

/** One interrupted call tells by itself what becomes of it; of several `eachNode` does. */
const toItsEnd = async <Result>(call: Promise<Result>): Promise<Result> => {
  try {
    return await call;
  } catch (error) {
    if (toNexusError(error).code !== 'cancelled') throw error;
    throw new NexusError('cancelled', `interrupted; ${GOES_ON}`, {}, { cause: error });
  }
};

type Verb = (controller: Controller, request: { node: string }) => Promise<{ node?: Node | undefined }>;

const verb = (name: string, summary: string, meaning: string, call: Verb): AnyCommand =>
  command({
    summary,
    positionals: NODES,
    flags: {},
    examples: [
      [`nexus node ${name} web-1`, meaning],
      [`nexus node ${name} web-1 web-2`, 'several: each is tried, and every failure is reported'],
    ],
    run: async (input, context) => {
      const controller = await context.connect();
      return await eachNode(context, input.nodes, (node) => call(controller, { node }), oneLine);
    },
  });

export const start = verb('start', 'start a stopped node', 'its data is as it was', (controller, request) =>
  controller.call(controller.node, controller.node.startNode, request, SLOW_DEADLINE_MS),
);

export const restart = verb('restart', 'stop a node and start it', 'its data stays', (controller, request) =>
  toItsEnd(controller.call(controller.node, controller.node.restartNode, request, SLOW_DEADLINE_MS)),
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
  positionals: NODES,
  flags: {
    grace: {
      type: 'string',
      hint: 'TIME',
      description: 'what the agent gets to finish: 500ms, 10s (default 10s)',
      field: 'grace_ms',
      aliases: ['time', 'timeout'],
    },
  },
  examples: [
    ['nexus node stop web-1', 'running transfers may finish'],
    ['nexus node stop web-1 --grace 500ms', 'soon'],
  ],
  run: async (input, context) => {
    const graceMs = input.grace === undefined ? 0 : parseDurationMs(input.grace, 'grace', MAX_GRACE_MS);
    const { node: client, call } = await context.connect();
    const stopOne = (node: string) => toItsEnd(call(client, client.stopNode, { node, graceMs }, SLOW_DEADLINE_MS));
    return await eachNode(context, input.nodes, stopOne, oneLine);
  },
});

export const resize = command({
  summary: 'change the limits of a node',
  details: 'Takes effect at once on a running node.',
  positionals: NODE,
  flags: {
    mem: {
      type: 'string',
      hint: 'SIZE',
      description: 'memory limit: 256 (MB), 512M, 1G',
      field: 'memory_mb',
      short: 'm',
      aliases: ['memory'],
    },
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
    const { node: client, call } = await context.connect();
    return await eachNode(context, [input.node], () => call(client, client.resizeNode, request), oneLine);
  },
});
