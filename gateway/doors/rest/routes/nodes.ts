/** Nodes: their life and their figures. Who may do what the controller decides. */
import { z } from 'zod';
import { NexusError } from '../../../../shared/errors.js';
import type { Node } from '../../../../shared/gen/nexus/v1/node.js';
import type { UnaryMethod } from '../../../../shared/rpc/calls.js';
import { nodeShape, plainShape } from '../../../../shared/rpc/shapes.js';
import { SLOW_DEADLINE_MS, type Session } from '../../../controller/controller.js';
import { flag, nodeReference } from '../fields.js';
import { route, type Reply, type Route } from '../../../http/route.js';
import { drainSchema, metricsSchema, nodeSchema, removedNodeSchema } from '../schemas.js';

const tag = 'nodes';
const params = z.strictObject({ id: nodeReference });
const whole = z.number().int().min(0);
/** Sums of sizes stay exact in JSON below it. */
const MAX_BYTES = Number.MAX_SAFE_INTEGER;

const newNodeSchema = z.strictObject({
  name: z.string().max(63).describe('a DNS label'),
  memory_mb: whole
    .max(2 ** 31)
    .optional()
    .describe('MB; default 128'),
  cpu_shares: whole.max(10_000).optional().describe('weight, 1 to 10000; default 512'),
  storage_size: whole.max(MAX_BYTES).optional().describe('bytes; default 1 GiB'),
  image: z.string().max(63).optional(),
  labels: z.record(z.string().max(63), z.string().max(255)).optional(),
  pids_limit: whole.max(1_000_000).optional(),
});

type NodeMethod = (session: Session) => UnaryMethod<{ node: string; graceMs: number; force: boolean }, NodeAnswer>;
interface NodeAnswer {
  readonly node?: Node | undefined;
}

/** POST /api/nodes/:id/VERB, which answers the node as it is then. */
const verb = (name: string, summary: string, method: NodeMethod): Route =>
  route({
    method: 'post',
    path: `/api/nodes/:id/${name}`,
    tag,
    summary,
    params,
    answers: { 200: { description: 'the node', schema: nodeSchema } },
    handle: async ({ session, params: { id } }) => {
      const request = { node: id, graceMs: 0, force: false };
      return shown(await session.call(method(session), request, SLOW_DEADLINE_MS));
    },
  });

export const nodeRoutes: readonly Route[] = [
  route({
    method: 'post',
    path: '/api/nodes',
    tag,
    summary: 'Create a node; answers when it runs',
    body: newNodeSchema,
    answers: { 201: { description: 'the node', schema: nodeSchema } },
    handle: async ({ session, body }) => {
      const request = {
        name: body.name,
        memoryMb: body.memory_mb ?? 0,
        cpuShares: body.cpu_shares ?? 0,
        storageSize: BigInt(body.storage_size ?? 0),
        image: body.image ?? '',
        labels: body.labels ?? {},
        pidsLimit: body.pids_limit ?? 0,
      };
      return shown(await session.call(session.node.createNode, request, SLOW_DEADLINE_MS));
    },
  }),
  route({
    method: 'get',
    path: '/api/nodes',
    tag,
    summary: 'All nodes',
    answers: { 200: { description: 'the nodes', schema: z.array(nodeSchema) } },
    handle: async ({ session }) => {
      const { nodes } = await session.call(session.node.listNodes, {});
      return { body: nodes.map(nodeShape) };
    },
  }),
  route({
    method: 'get',
    path: '/api/nodes/:id',
    tag,
    summary: 'One node',
    params,
    answers: { 200: { description: 'the node', schema: nodeSchema } },
    handle: async ({ session, params: { id } }) => shown(await session.call(session.node.getNode, { node: id })),
  }),
  route({
    method: 'delete',
    path: '/api/nodes/:id',
    tag,
    summary: 'Remove a node',
    params,
    query: z.strictObject({ force: flag.describe('also if it has the only copy of a chunk') }),
    answers: {
      204: { description: 'removed' },
      200: { description: 'removed, and with it parts of files', schema: removedNodeSchema },
    },
    handle: async ({ session, params: { id }, query }) => {
      const request = { node: id, force: query.force ?? false };
      const removed = await session.call(session.node.removeNode, request, SLOW_DEADLINE_MS);
      return removed.lostFiles.length === 0 ? { status: 204 } : { status: 200, body: plainShape(removed) };
    },
  }),
  verb('start', 'Start a node that is stopped', ({ node }) => node.startNode),
  verb('stop', 'Stop a node; its data stays', ({ node }) => node.stopNode),
  verb('restart', 'Stop a node and start it again', ({ node }) => node.restartNode),
  verb('cordon', 'Place nothing new on a node', ({ node }) => node.cordonNode),
  verb('uncordon', 'Place on a node again', ({ node }) => node.uncordonNode),
  route({
    method: 'post',
    path: '/api/nodes/:id/drain',
    tag,
    summary: 'Move every copy off a node; answers when nothing is left on it',
    params,
    answers: { 200: { description: 'what is left: nothing', schema: drainSchema } },
    handle: async ({ session, params: { id } }) => {
      let last: object | undefined;
      for await (const progress of session.messages(session.node, session.node.drainNode, { node: id }))
        last = progress;
      session.signal.throwIfAborted();
      if (last === undefined) throw new NexusError('internal', 'the controller said nothing about the drain');
      return { body: plainShape(last) };
    },
  }),
  route({
    method: 'get',
    path: '/api/nodes/:id/metrics',
    tag,
    summary: 'The latest figures of a node',
    params,
    answers: { 200: { description: 'the figures', schema: metricsSchema } },
    handle: async ({ session, params: { id } }) => {
      const { metrics } = await session.call(session.metrics.getNodeMetrics, { node: id });
      if (metrics === undefined) throw new NexusError('internal', 'the controller answered without figures');
      return { body: plainShape(metrics) };
    },
  }),
  route({
    method: 'get',
    path: '/api/nodes/:id/metrics/history',
    tag,
    summary: 'The figures of the last hour, oldest first',
    params,
    query: z.strictObject({ since: z.string().max(64).optional().describe('RFC 3339; default: all that is kept') }),
    answers: { 200: { description: 'the figures', schema: z.array(metricsSchema) } },
    handle: async ({ session, params: { id }, query }) => {
      const request = { node: id, since: query.since ?? '' };
      const { metrics } = await session.call(session.metrics.getNodeMetricsHistory, request);
      return { body: metrics.map(plainShape) };
    },
  }),
];

function shown({ node }: NodeAnswer): Reply {
  if (node === undefined) throw new NexusError('internal', 'the controller answered without a node');
  return { body: nodeShape(node) };
}
