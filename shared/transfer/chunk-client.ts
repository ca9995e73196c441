/**
 * HTTP client of the agents: puts and gets single chunks. Connections are kept for the transfer; every wait is bounded.
 */
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { after, cancel } from '../async/timers.js';
import { onAbort, outcome } from '../async/wait.js';
import { MD5_HEADER, refusalIn, storedReplyIn, type StoredReply } from '../data-plane.js';
import { NexusError } from '../errors.js';
import { KIB } from '../limits.js';
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
const MAX_REPLY_BYTES = 64 * KIB;

export class ChunkClient {
  readonly #agent: Agent;

  constructor(
    connections: number,
    private readonly route: ChunkRoute = directRoute,
  ) {
    const pool = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections };
    this.#agent = route.tls === undefined ? new Agent(pool) : new TlsAgent({ ...pool, ...route.tls });
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
    const send = (outgoing: ClientRequest): void => {
      outgoing.once('finish', () => outgoing.setTimeout(IDLE_TIMEOUT_MS));
      outgoing.end(data);
    };
    return await this.#exchange('PUT', target, chunkId, headers, signal, send, readStored, SEND_STALL_MS);
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
    const read = (incoming: IncomingMessage): Promise<number> => readInto(incoming, buffer);
    const send = (outgoing: ClientRequest): void => {
      outgoing.end();
    };
    return await this.#exchange('GET', target, chunkId, {}, signal, send, read, idleTimeoutMs);
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange<Result>(
    method: 'GET' | 'PUT',
    target: ChunkTarget,
    chunkId: string,
    headers: Record<string, string | number>,
    signal: AbortSignal,
    send: (outgoing: ClientRequest) => void,
    read: (incoming: IncomingMessage) => Promise<Result>,
    idleTimeoutMs: number,
  ): Promise<Result> {
    const way = this.route.to(target, chunkId);
    const begin = this.route.tls === undefined ? request : tlsRequest;
    return outcome<Result>((resolve, reject) => {
      const outgoing = begin({ agent: this.#agent, method, ...way, headers: { ...headers, ...way.headers } });
      const fail = (error: unknown): void => {
        release();
        outgoing.destroy();
        reject(translate(error, target, signal));
      };
      const release = boundTime(outgoing, fail, idleTimeoutMs);
      outgoing.on('error', fail);
      outgoing.once('response', (incoming) => {
        (isSuccess(incoming) ? read(incoming) : refuse(incoming)).then((result) => {
          release();
          resolve(result);
        }, fail);
      });
      const gone = onAbort(signal, fail);
      if (!signal.aborted) send(outgoing);
      return () => gone[Symbol.dispose]();
    });
  }
}

const isSuccess = (incoming: IncomingMessage): boolean =>
  (incoming.statusCode ?? 0) >= 200 && (incoming.statusCode ?? 0) < 300;

/** Gives up a node that does not accept the connection, or goes silent. */
function boundTime(outgoing: ClientRequest, fail: (error: NexusError) => void, idleTimeoutMs: number): () => void {
  const connecting = after(CONNECT_TIMEOUT_MS, () => {
    fail(new NexusError('deadline_exceeded', `no connection within ${CONNECT_TIMEOUT_MS / 1000} s`));
  });
  const stopConnecting = (): void => cancel(connecting);
  outgoing.once('socket', (socket) => {
    if (socket.connecting) socket.once('connect', stopConnecting);
    else stopConnecting();
  });
  outgoing.setTimeout(idleTimeoutMs, () => {
    fail(new NexusError('deadline_exceeded', `nothing came or went for ${idleTimeoutMs / 1000} s`));
  });
  return stopConnecting;
}

async function readStored(incoming: IncomingMessage): Promise<StoredReply> {
  return storedReplyIn(await readText(incoming));
}

async function refuse(incoming: IncomingMessage): Promise<never> {
  const refusal = refusalIn(await readText(incoming));
  throw refusal ?? new NexusError('internal', `HTTP status ${incoming.statusCode ?? 0}`);
}

async function readText(incoming: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_REPLY_BYTES) throw new NexusError('internal', 'the reply is longer than any reply can be');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
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

function translate(error: unknown, target: ChunkTarget, signal: AbortSignal): NexusError {
  if (signal.aborted) return new NexusError('cancelled', 'the transfer was cancelled', {}, { cause: error });
  if (error instanceof NexusError) return error;
  const said = error instanceof Error ? error.message : String(error);
  return new NexusError('unavailable', `node ${target.nodeName} does not answer: ${said}`, {}, { cause: error });
}
