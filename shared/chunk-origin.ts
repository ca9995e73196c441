/** A chunk's origin as a message between controller and agent. */
import type { ChunkOrigin } from './chunk-token.js';
import type { ChunkOrigin as ChunkOriginMessage } from './gen/nexus/v1/agent.js';

export const originMessage = (origin: ChunkOrigin): ChunkOriginMessage => ({
  fileId: origin.file,
  index: origin.index,
  name: origin.name,
  owner: origin.owner,
  replicas: origin.replicas,
  expectedBytes: BigInt(origin.expected),
  createdAtMs: BigInt(origin.created),
  offset: origin.offset === undefined ? undefined : BigInt(origin.offset),
});

export const originOfMessage = (message: ChunkOriginMessage): ChunkOrigin => ({
  file: message.fileId,
  index: message.index,
  name: message.name,
  owner: message.owner,
  replicas: message.replicas,
  expected: Number(message.expectedBytes),
  created: Number(message.createdAtMs),
  ...(message.offset === undefined ? {} : { offset: Number(message.offset) }),
});
