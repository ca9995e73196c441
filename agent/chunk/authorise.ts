/** Who may do what with a chunk: the bearer token of a request, checked for this node, chunk and operation. */
import type { KeyObject } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { verifyChunkToken, type ChunkOperation, type ChunkTokenClaims } from '../../shared/chunk-token.js';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId, NodeId } from '../../shared/ids.js';

export interface TokenContext {
  readonly nodeId: NodeId;
  /** The controller's public key. */
  readonly tokenKey: KeyObject;
  readonly clock: Clock;
}

/** Codes: unauthenticated, permission_denied. */
export function authorise(
  context: TokenContext,
  op: ChunkOperation,
  chunk: ChunkId,
  request: IncomingMessage,
): ChunkTokenClaims {
  const [scheme, token, ...rest] = (request.headers.authorization ?? '').split(' ');
  if (scheme?.toLowerCase() !== 'bearer' || token === undefined || rest.length > 0) {
    throw new NexusError('unauthenticated', 'a chunk token is required: Authorization: Bearer <token>');
  }
  return verifyChunkToken(token, context.tokenKey, { op, chunk, node: context.nodeId, nowMs: context.clock.now() });
}
