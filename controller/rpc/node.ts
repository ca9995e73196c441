/** NodeService: requests checked, verbs called, records shown. */
import type { NodeServiceServer, Node } from '../../shared/gen/nexus/v1/node.js';
import type { Logger } from '../../shared/log.js';
import type { NodeService } from '../node/service.js';
import type { NodeRecord } from '../store/port.js';
import { execHandler } from './exec.js';
import { unary, serverStream } from './handlers.js';
import { followLog } from '../node/logs.js';
import { createNodeSchema, resizeNodeSchema, stopNodeSchema } from './node-schemas.js';
import { nodeShape } from './node-shapes.js';
import { parseRequest } from './validate.js';

export function nodeServiceHandlers(service: NodeService, log: Logger): NodeServiceServer {
  const { registry, settings } = service.context;
  const shape = (record: NodeRecord): Node => nodeShape(record, registry.agent(record.id), settings);
  return {
    createNode: unary(log, async (request, { signal }) => {
      const { cpuShares: cpuWeight, storageSize: storageBytes, ...rest } = parseRequest(createNodeSchema, request);
      return { node: shape(await service.create({ ...rest, cpuWeight, storageBytes }, signal)) };
    }),
    listNodes: unary(log, () => Promise.resolve({ nodes: registry.list().map(shape) })),
    getNode: unary(log, ({ node }) => Promise.resolve({ node: shape(registry.resolve(node)) })),
    startNode: unary(log, async ({ node }, { signal }) => ({ node: shape(await service.start(node, signal)) })),
    stopNode: unary(log, async (request) => {
      const { node, graceMs } = parseRequest(stopNodeSchema, request);
      return { node: shape(await service.stop(node, graceMs === 0 ? settings.nodeStopGraceMs : graceMs)) };
    }),
    restartNode: unary(log, async ({ node }, { signal }) => ({ node: shape(await service.restart(node, signal)) })),
    removeNode: unary(log, async ({ node, force }) => {
      const { node: removed, lostFiles } = await service.remove(node, force);
      return { id: removed.id, name: removed.name, lostFiles: [...lostFiles] };
    }),
    cordonNode: unary(log, async ({ node }) => ({ node: shape(await service.setCordoned(node, true)) })),
    uncordonNode: unary(log, async ({ node }) => ({ node: shape(await service.setCordoned(node, false)) })),
    resizeNode: unary(log, async (request) => {
      const { node, memoryMb, cpuShares: cpuWeight, pidsLimit } = parseRequest(resizeNodeSchema, request);
      const given = Object.entries({ memoryMb, cpuWeight, pidsLimit }).filter(([, value]) => value !== undefined);
      return { node: shape(await service.resize(node, Object.fromEntries(given))) };
    }),
    execInNode: execHandler(service, log),
    getNodeLogs: serverStream(log, async ({ node, follow, tail }, { signal, send }) => {
      const record = registry.resolve(node);
      const isThere = (): boolean => registry.get(record.id) !== undefined;
      await followLog(settings, record.id, { follow, tail, isThere, signal }, (data) => send({ data }));
    }),
  };
}
