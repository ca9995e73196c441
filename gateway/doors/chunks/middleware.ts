/**
 * Serves /chunks/NODE/CHUNK for command lines on other machines, which can't reach the nodes' own addresses. It reaches
 * only agents of nodes that the controller knows, only chunks, and only for a user whose token is valid now: each
 * request asks the controller. The chunk token, which the agent checks, says what may be read or written; here it is
 * accepted only from the user it was issued to.
 */
import type { Context, Middleware } from 'koa';
import { peekHolder } from '../../../shared/chunk-token.js';
import { CHUNK_TOKEN_HEADER } from '../../../shared/data-plane.js';
import { NexusError } from '../../../shared/errors.js';
import { isChunkId, isNodeId } from '../../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../../shared/limits.js';
import type { Controller } from '../../controller/controller.js';
import { INTEGRITY_HEADERS } from '../../http/digests.js';
import { HttpError, invalid, tooLarge } from '../../http/http-error.js';
import { stateOf } from '../../http/request.js';
import { bearerToken, subjectOf } from '../../http/token.js';
import type { ChunkRelay } from './relay.js';

const UNKNOWN_HERE = [...INTEGRITY_HEADERS, 'if-match', 'if-none-match', 'if-unmodified-since', 'range'];
const PATH = /^\/chunks\/([^/]+)\/([^/]+)$/;
/** Signed claims, which include the tokens for further replicas. */
const CHUNK_TOKEN = /^[A-Za-z0-9_.-]{1,12000}$/;

export function chunks(controller: Controller, relay: ChunkRelay): Middleware {
  return async (context, next) => {
    const [, nodeId, chunkId] = PATH.exec(context.path) ?? [];
    if (nodeId === undefined || chunkId === undefined) {
      await next();
      return;
    }
    const state = stateOf(context);
    state.route = '/chunks/:node/:chunk';
    state.asksForToken = true;
    assertRequest(context, nodeId, chunkId);
    const chunkToken = context.get(CHUNK_TOKEN_HEADER);
    if (!CHUNK_TOKEN.test(chunkToken)) throw invalid(CHUNK_TOKEN_HEADER, 'must be the token of a grant');
    const userToken = bearerToken(context.get('authorization'));
    const address = await addressOf(context, controller, userToken, nodeId);
    assertHolder(chunkToken, userToken);
    // From here on the agent answers, not Koa.
    context.respond = false;
    await relay.relay(context.req, context.res, { address, chunkId, chunkToken });
  };
}

/** Codes: unimplemented, invalid_argument. */
function assertRequest(context: Context, nodeId: string, chunkId: string): void {
  if (context.method !== 'GET' && context.method !== 'PUT') {
    throw new HttpError(405, 'unimplemented', 'this address takes GET, PUT', {}, { Allow: 'GET, PUT' });
  }
  if (!isNodeId(nodeId)) throw invalid('node', 'must be the id of a node');
  if (!isChunkId(chunkId)) throw invalid('chunk', 'must be the id of a chunk');
  for (const name of UNKNOWN_HERE) {
    if (context.get(name) !== '') throw invalid(name, 'is not supported for a chunk, whose own checksum is verified');
  }
  if (context.method === 'GET') return;
  // Without a length the size could not be bounded, and the agent requires one anyway.
  if (context.get('content-length') === '') throw invalid('content-length', 'must be given');
  if (Number(context.get('content-length')) > CHUNK_SIZE_BYTES) throw tooLarge('body', CHUNK_SIZE_BYTES);
}

/** Codes: unauthenticated, not_found, unavailable. */
async function addressOf(context: Context, controller: Controller, token: string, nodeId: string): Promise<string> {
  const { address, requestId, signal } = stateOf(context);
  const session = controller.session({ token, address, requestId, signal });
  const { node } = await session.call(session.node.getNode, { node: nodeId });
  // The name of another node may look like this id.
  if (node?.id !== nodeId) throw new NexusError('not_found', `there is no node ${nodeId}`);
  if (node.dataAddress !== '') return node.dataAddress;
  throw new NexusError('unavailable', `node ${node.name} is not up`, {}, { advice: { key: 'see-node-state' } });
}

/**
 * Checks that the chunk token was issued to this user. The user's token needs no check here, as the controller has just
 * accepted it. Codes: permission_denied, invalid_argument.
 */
function assertHolder(chunkToken: string, userToken: string): void {
  if (peekHolder(chunkToken) === subjectOf(userToken)) return;
  throw new NexusError('permission_denied', 'the chunk token was given to somebody else; ask for one of your own');
}
