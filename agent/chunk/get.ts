/** GET and HEAD of a chunk. The reader checks the MD5: hashing here too would halve the rate. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { MD5_HEADER } from '../../shared/data-plane.js';
import type { ChunkId } from '../../shared/ids.js';
import { authorise, type TokenContext } from './authorise.js';
import { sendFile } from './send-file.js';
import type { ChunkStore } from './store.js';
import type { Transfers } from './transfers.js';

export interface GetContext extends TokenContext {
  readonly store: ChunkStore;
  readonly transfers: Transfers;
}

/** Codes: unauthenticated, permission_denied, unavailable, not_found, data_loss. */
export async function getChunk(
  context: GetContext,
  chunk: ChunkId,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  authorise(context, 'read', chunk, request);
  using _transfer = context.transfers.begin();
  const { facts, file } = await context.store.openRead(chunk);
  try {
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': facts.size,
      [MD5_HEADER]: facts.md5,
    });
    if (request.method === 'HEAD') response.end();
    else await sendFile(file, facts.size, response);
  } finally {
    await file.close().catch(() => undefined);
  }
}
