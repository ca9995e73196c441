/** NodeService: validates requests, calls verbs, converts records. */
import type { NodeServiceServer, Node } from '../../../../shared/gen/nexus/v1/node.js';
import { latestFigures } from '../../../metrics/figures.js';
import type { NodeService } from '../../../node/service.js';
import type { Upkeep } from '../../../repair/upkeep.js';
import type { NodeRecord } from '../../../store/port/store.js';
import { execHandler } from './exec.js';
import { agentHandlers } from './agent.js';
import type { Edge } from '../../admission.js';
import { unary, serverStream } from '../../handlers.js';
import { followLog } from '../../../node/watch/logs.js';
import { NodeAccess } from '../../../node/access.js';
import { createNodeSchema, resizeNodeSchema, stopNodeSchema } from './schemas.js';
import { nodeShape } from './shapes.js';
import { parseRequest } from '../../validate.js';

/** Limits the lost files named in an answer; the list of files has them all. */
const MAX_LOST_NAMED = 100;

export function nodeServiceHandlers(service: NodeService, upkeep: Upkeep, edge: Edge): NodeServiceServer {
  const { registry, metrics, hostings, settings } = service.context;
  const access = new NodeAccess(registry, settings.nodesPerUser);
  const shape = (record: NodeRecord): Node =>
    nodeShape(record, registry.agent(record.id), latestFigures(metrics, record)?.cpuPercent, hostings.of(record));
  return {
    createNode: unary(edge, async (request, { caller, signal }) => {
      const { cpuShares: cpuWeight, storageSize: storageBytes, ...rest } = parseRequest(createNodeSchema, request);
      const created = await access.creating(caller, rest.labels, (labels) =>
        service.create({ ...rest, labels, cpuWeight, storageBytes }, signal),
      );
      return { node: shape(created) };
    }),
    listNodes: unary(edge, () => Promise.resolve({ nodes: registry.list().map(shape) })),
    getNode: unary(edge, ({ node }) => Promise.resolve({ node: shape(registry.resolve(node)) })),
    startNode: unary(edge, async ({ node }, { caller, signal }) => ({
      node: shape(await service.start(access.managed(caller, node).id, signal)),
    })),
    stopNode: unary(edge, async (request, { caller }) => {
      const { node, graceMs } = parseRequest(stopNodeSchema, request);
      const { id } = access.managed(caller, node);
      return { node: shape(await service.stop(id, graceMs === 0 ? settings.nodeStopGraceMs : graceMs)) };
    }),
    restartNode: unary(edge, async ({ node }, { caller, signal }) => ({
      node: shape(await service.restart(access.managed(caller, node).id, signal)),
    })),
    removeNode: unary(edge, async ({ node, force }, { caller }) => {
      const { node: removed, lostFiles } = await service.remove(access.removable(caller, node, force).id, force);
      const lost = lostFiles.slice(0, MAX_LOST_NAMED).map(({ id, name, owner }) => ({ id, name, owner }));
      return { id: removed.id, name: removed.name, lostFiles: lostFiles.map(({ id }) => id), lost };
    }),
    cordonNode: unary(edge, async ({ node }) => ({ node: shape(await service.setCordoned(node, true)) })),
    uncordonNode: unary(edge, async ({ node }) => ({ node: shape(await service.setCordoned(node, false)) })),
    resizeNode: unary(edge, async (request) => {
      const { node, memoryMb, cpuShares: cpuWeight, pidsLimit } = parseRequest(resizeNodeSchema, request);
      const given = Object.entries({ memoryMb, cpuWeight, pidsLimit }).filter(([, value]) => value !== undefined);
      return { node: shape(await service.resize(node, Object.fromEntries(given))) };
    }),
    drainNode: serverStream(edge, async ({ node }, { signal, send }) => {
      await upkeep.drain(service, node, signal, ({ remainingChunks, remainingBytes, isFinished }) =>
        send({ remainingChunks: BigInt(remainingChunks), remainingBytes: BigInt(remainingBytes), isFinished }),
      );
    }),
    ...agentHandlers(service.context, edge),
    execInNode: execHandler(service, edge),
    getNodeLogs: serverStream(edge, async ({ node, follow, tail }, { caller, signal, send }) => {
      using _place = follow ? edge.streams.take(caller.user) : undefined;
      const record = registry.resolve(node);
      const isThere = (): boolean => registry.get(record.id) !== undefined;
      await followLog(settings, record.id, { follow, tail, isThere, signal }, (data) => send({ data }));
    }),
  };
}
