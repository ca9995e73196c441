/**
 * HTTP client of the agents: puts and gets single chunks. Connections are kept for the transfer; every wait is bounded.
 */
import { Agent, request, type IncomingMessage } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { outcome } from '../async/wait.js';
import { MD5_HEADER, packReplyIn, storedReplyIn, type PackReply, type StoredReply } from '../data-plane.js';
import { NexusError } from '../errors.js';
import { MAX_PACK_REPLY_BYTES, MIB } from '../limits.js';
import { packAt } from '../peer/address.js';
import { PeerExchange, replyText, type PeerPool } from '../peer/exchange.js';
import { packHead } from '../peer/pack.js';
import type { ChunkTarget } from './port.js';
import { directRoute, type ChunkRoute } from './route.js';

const CONNECT_TIMEOUT_MS = 5000;
/** Longest silence on the connection, in either direction, once the request has been sent. */
const IDLE_TIMEOUT_MS = 30_000;
/**
 * Longest time for which a node may accept no more of a chunk. Longer than its own wait for a further replica
 * (FORWARD_STALL_MS of the agent), so that the node that hangs is given up and not the one before it.
 */
const SEND_STALL_MS = 10_000;
/** Bytes received between two collections of young objects. */
const COLLECT_EVERY_BYTES = 4 * MIB;

interface ChunkRequest {
  readonly method: 'GET' | 'PUT';
  readonly headers?: Record<string, string | number>;
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

export class ChunkClient {
  readonly #pool: PeerPool;

  constructor(
    connections: number,
    private readonly route: ChunkRoute = directRoute,
  ) {
    const pool = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections };
    this.#pool =
      route.tls === undefined
        ? { agent: new Agent(pool), begin: request }
        : { agent: new TlsAgent({ ...pool, ...route.tls }), begin: tlsRequest };
  }

  /** Codes: unavailable, deadline_exceeded, cancelled, those of the agent. */
  async put(
    target: ChunkTarget,
    chunkId: string,
    data: Buffer,
    md5: string,
    signal: AbortSignal,
  ): Promise<StoredReply> {
    const headers = { 'content-length': data.length, [MD5_HEADER]: md5, 'content-type': 'application/octet-stream' };
    const exchange = this.#open(target, chunkId, { method: 'PUT', headers, stallMs: SEND_STALL_MS, signal });
    exchange.end(data, IDLE_TIMEOUT_MS);
    return await exchange.read(async (answer) => storedReplyIn(await replyText(answer)));
  }

  /** Stores many small chunks by one request to the node itself. Codes: as of `put`; not_found from agents without packs. */
  async putPack(
    target: ChunkTarget,
    chunks: readonly { readonly chunk: string; readonly md5: string; readonly data: Buffer }[],
    signal: AbortSignal,
  ): Promise<PackReply> {
    const listed = chunks.map(({ chunk, md5, data }) => ({ chunk, size: data.length, md5 }));
    const body = Buffer.concat([packHead({ token: target.token, chunks: listed }), ...chunks.map(({ data }) => data)]);
    const headers = { 'content-length': body.length, 'content-type': 'application/octet-stream' };
    const exchange = new PeerExchange(packAt(target.address), {
      ...{ method: 'POST', headers, stallMs: SEND_STALL_MS, signal },
      ...{ pool: this.#pool, connectMs: CONNECT_TIMEOUT_MS, peer: `node ${target.nodeName}` },
    });
    exchange.end(body, IDLE_TIMEOUT_MS);
    return await exchange.read(async (answer) => packReplyIn(await replyText(answer, MAX_PACK_REPLY_BYTES)));
  }

  /**
   * Reads the chunk into the front of `buffer`; returns the number of bytes. Codes: those of `put`, and data_loss when
   * the node sends more than the buffer holds.
   */
  async get(
    target: ChunkTarget,
    chunkId: string,
    buffer: Buffer,
    signal: AbortSignal,
    idleTimeoutMs = IDLE_TIMEOUT_MS,
  ): Promise<number> {
    const exchange = this.#open(target, chunkId, { method: 'GET', stallMs: idleTimeoutMs, signal });
    exchange.end();
    return await exchange.read((answer) => readInto(answer, buffer));
  }

  close(): void {
    this.#pool.agent.destroy();
  }

  #open(target: ChunkTarget, chunkId: string, options: ChunkRequest): PeerExchange {
    const peer = `node ${target.nodeName}`;
    const place = this.route.to(target, chunkId);
    return new PeerExchange(place, { ...options, pool: this.#pool, connectMs: CONNECT_TIMEOUT_MS, peer });
  }
}

function readInto(incoming: IncomingMessage, buffer: Buffer): Promise<number> {
  let size = 0;
  return outcome((resolve, reject) => {
    incoming.on('data', (piece: Buffer) => {
      if (size + piece.length > buffer.length) {
        incoming.destroy(new NexusError('data_loss', 'the node sent more than a chunk can hold'));
        return;
      }
      buffer.set(piece, size);
      if (size % COLLECT_EVERY_BYTES >= COLLECT_EVERY_BYTES - piece.length) collectYoung();
      size += piece.length;
    });
    incoming.once('end', () => {
      resolve(size);
    });
    incoming.once('error', reject);
    // The connection broke off: 'close' without 'end'.
    incoming.once('close', () => {
      reject(new NexusError('unavailable', 'the connection broke off'));
    });
    return undefined;
  });
}

let collect: ((options: { readonly type: 'minor' }) => void) | undefined;

/**
 * Frees the pieces received so far. Each is a small object with 64 KiB outside the heap: V8 would let tens of MB of them
 * gather, the more the busier the machine is. The peak of a large download is 18 MB lower, at the same processor time.
 */
function collectYoung(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as NonNullable<typeof collect>;
  }
  collect({ type: 'minor' });
}
