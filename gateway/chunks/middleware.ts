/**
 * /chunks/NODE/CHUNK for command lines on other machines, where the nodes' own addresses lead nowhere. Only the agents of
 * nodes that the controller knows are reached, only for chunks, and only by somebody whose token is good now: the
 * controller is asked with each request. What may be read or written the chunk token says, which the agent checks; here
 * it is good for nobody but the user whom the controller gave it to.
 */
import type { Context, Middleware } from 'koa';
import { peekHolder } from '../../shared/chunk-token.js';
import { CHUNK_TOKEN_HEADER } from '../../shared/data-plane.js';
import { NexusError } from '../../shared/errors.js';
import { isChunkId, isNodeId } from '../../shared/ids.js';
import { CHUNK_SIZE_BYTES } from '../../shared/limits.js';
import type { Controller } from '../controller.js';
import { INTEGRITY_HEADERS } from '../digests.js';
import { HttpError, invalid, tooLarge } from '../http-error.js';
import { stateOf } from '../middleware/request.js';
import { bearerToken, subjectOf } from '../token.js';
import type { ChunkRelay } from './relay.js';

const UNKNOWN_HERE = [...INTEGRITY_HEADERS, 'if-match', 'if-none-match', 'if-unmodified-since', 'range'];
const PATH = /^\/chunks\/([^/]+)\/([^/]+)$/;
/** Signed claims, with those of further replicas in them. */
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
    if (context.get(name) !== '') throw invalid(name, 'is not taken for a chunk, whose own checksum is checked');
  }
  if (context.method === 'GET') return;
  // What is not announced could not be bounded, and the agent asks for it anyway.
  if (context.get('content-length') === '') throw invalid('content-length', 'must be given');
  if (Number(context.get('content-length')) > CHUNK_SIZE_BYTES) throw tooLarge('body', CHUNK_SIZE_BYTES);
}

/** Codes: unauthenticated, not_found, unavailable. */
async function addressOf(context: Context, controller: Controller, token: string, nodeId: string): Promise<string> {
  const { address, requestId, signal } = stateOf(context);
  const session = controller.session({ token, address, requestId, signal });
  const { node } = await session.call(session.node.getNode, { node: nodeId });
  // A name may look like an id.
  if (node?.id !== nodeId) throw new NexusError('not_found', `there is no node ${nodeId}`);
  if (node.dataAddress !== '') return node.dataAddress;
  throw new NexusError('unavailable', `node ${node.name} is not up; see nexus node ls`);
}

/** What the user's token says is so: the controller has just accepted it. Codes: permission_denied, invalid_argument. */
function assertHolder(chunkToken: string, userToken: string): void {
  if (peekHolder(chunkToken) === subjectOf(userToken)) return;
  throw new NexusError('permission_denied', 'the chunk token was given to somebody else; ask for one of your own');
}
