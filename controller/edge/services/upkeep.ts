/** The part of FileService and NodeService for the upkeep of stored files: reports, scrub, rebalance, drain. */
import { z } from 'zod';
import type { FileServiceServer } from '../../../shared/gen/nexus/v1/file.js';
import type { NodeServiceServer } from '../../../shared/gen/nexus/v1/node.js';
import { isChunkId, type NodeId } from '../../../shared/ids.js';
import { MIB } from '../../../shared/limits.js';
import type { NodeRegistry } from '../../node/registry.js';
import type { NodeService } from '../../node/service.js';
import type { Upkeep } from '../../repair/upkeep.js';
import type { Edge } from '../admission.js';
import { serverStream, unary } from '../handlers.js';
import { parseRequest } from '../validate.js';

const reportSchema = z.object({
  chunkId: z.string().refine(isChunkId, 'must be a chunk id'),
  nodeId: z.string().regex(/^[0-9a-f]{12}$/, 'must be a node id'),
});
const scrubSchema = z.object({ node: z.string().max(63), rateMb: z.number().int().max(100_000) });

type FileUpkeep = Pick<FileServiceServer, 'reportReplica' | 'scrubFiles' | 'rebalanceFiles'>;

export function fileUpkeepHandlers(upkeep: Upkeep, registry: NodeRegistry, edge: Edge): FileUpkeep {
  return {
    reportReplica: unary(edge, (request) => {
      const { chunkId, nodeId } = parseRequest(reportSchema, request);
      upkeep.suspicions.raise(chunkId, nodeId as NodeId);
      return Promise.resolve({});
    }),
    scrubFiles: serverStream(edge, async (request, { signal, send }) => {
      const { node, rateMb } = parseRequest(scrubSchema, request);
      await upkeep.scrub.run({
        node: node === '' ? undefined : registry.resolve(node).id,
        rate: rateMb * MIB,
        signal,
        tell: ({ checkedChunks, checkedBytes, bad, ...rest }) =>
          send({
            ...rest,
            checkedChunks: BigInt(checkedChunks),
            checkedBytes: BigInt(checkedBytes),
            bad: BigInt(bad),
          }),
      });
    }),
    rebalanceFiles: serverStream(edge, async (_request, { signal, send }) => {
      await upkeep.rebalance.run(signal, ({ movedChunks, movedBytes, ...rest }) =>
        send({ ...rest, movedChunks: BigInt(movedChunks), movedBytes: BigInt(movedBytes) }),
      );
    }),
  };
}

/** Time for invocations on a drained node to end; most do so within seconds. */
const DRAIN_GRACE_MS = 30_000;

export function nodeUpkeepHandlers(
  upkeep: Upkeep,
  service: NodeService,
  edge: Edge,
): Pick<NodeServiceServer, 'drainNode'> {
  return {
    drainNode: serverStream(edge, async ({ node }, { signal, send }) => {
      const draining = await service.startDrain(node);
      await service.context.guests.leave(draining.id, DRAIN_GRACE_MS);
      await upkeep.followDrain(draining.id, signal, ({ remainingChunks, remainingBytes, isFinished }) =>
        send({ remainingChunks: BigInt(remainingChunks), remainingBytes: BigInt(remainingBytes), isFinished }),
      );
      await service.context.events.append(
        'node.drained',
        draining.name,
        `node ${draining.name} holds no copies any more`,
      );
    }),
  };
}
