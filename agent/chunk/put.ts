/**
 * PUT of a chunk: checked while it streams to the volume and, at the same time, to the further replicas that the token
 * names. The reply is sent when the chunk is durable here and each other replica has answered or failed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { signClaims, type ChunkTokenClaims, type SigningKey } from '../../shared/chunk-token.js';
import { MD5_HEADER, type StoredReply } from '../../shared/data-plane.js';
import { NexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import { MAX_REPLICAS } from '../../shared/limits.js';
import type { AgentLog } from '../log.js';
import { authorise } from './authorise.js';
import { consumeBody } from './body.js';
import { Forward } from './forward.js';
import type { GetContext } from './get.js';
import { MD5_PATTERN, type ChunkFacts } from './layout.js';
import type { ChunkWrite, ExpectedChunk } from './write.js';

export interface PutContext extends GetContext {
  /** Signs receipts. */
  readonly receiptKey: SigningKey;
  readonly log: AgentLog;
}

/** Codes: unauthenticated, permission_denied, invalid_argument, unavailable, and those of the store. */
export async function putChunk(
  context: PutContext,
  chunk: ChunkId,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const claims = authorise(context, 'write', chunk, request);
  const expected = expectedContent(claims, request);
  using _transfer = context.transfers.begin();
  // Answered only when the write is over: whoever has the answer may write or read the chunk at once.
  const { status, reply } = await receive(context, chunk, expected, claims, request);
  answer(response, status, reply);
}

async function receive(
  context: PutContext,
  chunk: ChunkId,
  expected: ExpectedChunk,
  claims: ChunkTokenClaims,
  request: IncomingMessage,
): Promise<{ readonly status: number; readonly reply: StoredReply }> {
  await using write = await context.store.beginWrite(chunk, expected);
  const forwards = openForwards(claims, chunk, expected);
  try {
    await consumeBody(
      request,
      (piece) => waitForAll([write.write(piece), ...forwards.map((forward) => forward.write(piece))]),
      { signal: write.superseded },
    );
    return { status: write.repeated ? 200 : 201, reply: await finishAll(context, chunk, write, forwards) };
  } finally {
    for (const forward of forwards) forward[Symbol.dispose]();
  }
}

function expectedContent(claims: ChunkTokenClaims, request: IncomingMessage): ExpectedChunk {
  const length = request.headers['content-length'];
  if (length === undefined) throw new NexusError('invalid_argument', 'Content-Length is required');
  const size = Number(length);
  if (size > claims.size) {
    throw new NexusError('permission_denied', `the chunk token allows ${claims.size} bytes, not ${size}`);
  }
  const md5 = request.headers[MD5_HEADER];
  if (typeof md5 !== 'string' || !MD5_PATTERN.test(md5)) {
    throw new NexusError('invalid_argument', 'X-Nexus-MD5 is required: 32 lower-case hex digits');
  }
  return { size, md5, ...(claims.of === undefined ? {} : { of: claims.of }) };
}

const openForwards = (claims: ChunkTokenClaims, chunk: ChunkId, expected: ExpectedChunk): Forward[] =>
  (claims.forward ?? []).slice(0, MAX_REPLICAS - 1).map((target) => new Forward(target, chunk, expected));

export function waitForAll(waits: readonly (Promise<void> | undefined)[]): Promise<void> | undefined {
  const pending = waits.filter((wait) => wait !== undefined);
  return pending.length === 0 ? undefined : Promise.all(pending).then(() => undefined);
}

/** This node's copy and the others become durable at the same time. */
async function finishAll(
  context: PutContext,
  chunk: ChunkId,
  write: ChunkWrite,
  forwards: readonly Forward[],
): Promise<StoredReply> {
  const others = Promise.all(forwards.map((forward) => forward.finish()));
  const facts = await write.commit();
  // Nobody has to wait for the others to write it here again.
  await write[Symbol.asyncDispose]();
  const receipts = [receiptOf(context, chunk, facts)];
  const failedNodes: string[] = [];
  for (const [index, result] of (await others).entries()) {
    const node = forwards[index]?.target.node ?? '';
    if ('stored' in result) {
      receipts.push(...result.stored.receipts);
      failedNodes.push(...result.stored.failed_nodes);
    } else {
      failedNodes.push(node);
      context.log.warn(
        { chunk, node, code: result.failed.code, err: result.failed.message },
        'a replica was not written',
      );
    }
  }
  return { size: facts.size, md5: facts.md5, receipts, failed_nodes: failedNodes };
}

/** This agent's word that it holds the chunk durably. */
export const receiptOf = (
  context: Pick<PutContext, 'nodeId' | 'clock' | 'receiptKey'>,
  chunk: ChunkId,
  { size, md5 }: ChunkFacts,
): string => signClaims({ chunk, node: context.nodeId, size, md5, at: context.clock.now() }, context.receiptKey);

function answer(response: ServerResponse, status: number, reply: StoredReply): void {
  const body = JSON.stringify(reply);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
