/** NodeService: requests checked, verbs called, records shown. */
import type { NodeServiceServer, Node } from '../../shared/gen/nexus/v1/node.js';
import type { NodeService } from '../node/service.js';
import type { Upkeep } from '../repair/upkeep.js';
import type { NodeRecord } from '../store/port.js';
import { execHandler } from './exec.js';
import type { Edge } from './edge.js';
import { unary, serverStream } from './handlers.js';
import { followLog } from '../node/logs.js';
import { createNodeSchema, resizeNodeSchema, stopNodeSchema } from './node-schemas.js';
import { nodeShape } from './node-shapes.js';
import { nodeUpkeepHandlers } from './upkeep.js';
import { parseRequest } from './validate.js';

export function nodeServiceHandlers(service: NodeService, upkeep: Upkeep, edge: Edge): NodeServiceServer {
  const { registry, settings } = service.context;
  const shape = (record: NodeRecord): Node => nodeShape(record, registry.agent(record.id), settings);
  return {
    createNode: unary(edge, async (request, { signal }) => {
      const { cpuShares: cpuWeight, storageSize: storageBytes, ...rest } = parseRequest(createNodeSchema, request);
      return { node: shape(await service.create({ ...rest, cpuWeight, storageBytes }, signal)) };
    }),
    listNodes: unary(edge, () => Promise.resolve({ nodes: registry.list().map(shape) })),
    getNode: unary(edge, ({ node }) => Promise.resolve({ node: shape(registry.resolve(node)) })),
    startNode: unary(edge, async ({ node }, { signal }) => ({ node: shape(await service.start(node, signal)) })),
    stopNode: unary(edge, async (request) => {
      const { node, graceMs } = parseRequest(stopNodeSchema, request);
      return { node: shape(await service.stop(node, graceMs === 0 ? settings.nodeStopGraceMs : graceMs)) };
    }),
    restartNode: unary(edge, async ({ node }, { signal }) => ({ node: shape(await service.restart(node, signal)) })),
    removeNode: unary(edge, async ({ node, force }) => {
      const { node: removed, lostFiles } = await service.remove(node, force);
      return { id: removed.id, name: removed.name, lostFiles: [...lostFiles] };
    }),
    cordonNode: unary(edge, async ({ node }) => ({ node: shape(await service.setCordoned(node, true)) })),
    uncordonNode: unary(edge, async ({ node }) => ({ node: shape(await service.setCordoned(node, false)) })),
    resizeNode: unary(edge, async (request) => {
      const { node, memoryMb, cpuShares: cpuWeight, pidsLimit } = parseRequest(resizeNodeSchema, request);
      const given = Object.entries({ memoryMb, cpuWeight, pidsLimit }).filter(([, value]) => value !== undefined);
      return { node: shape(await service.resize(node, Object.fromEntries(given))) };
    }),
    ...nodeUpkeepHandlers(upkeep, service, edge),
    execInNode: execHandler(service, edge),
    getNodeLogs: serverStream(edge, async ({ node, follow, tail }, { signal, send }) => {
      const record = registry.resolve(node);
      const isThere = (): boolean => registry.get(record.id) !== undefined;
      await followLog(settings, record.id, { follow, tail, isThere, signal }, (data) => send({ data }));
    }),
  };
}
