/**
 * Relays chunk bytes between a client on another machine and a node's agent: each request becomes one request to the
 * agent, and nothing is stored in between. The agent's status and body are passed back unchanged. When either side
 * disconnects, so does the other; neither may be silent for longer than the bound.
 */
import { Agent, request as begin, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { MD5_HEADER } from '../../../shared/data-plane.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import { chunkAt } from '../../../shared/peer/address.js';
import { PeerExchange, type PeerPool } from '../../../shared/peer/exchange.js';

export interface RelayTarget {
  /** host:port of the agent, always as the controller reports it. */
  readonly address: string;
  readonly chunkId: string;
  /** Grants access to this one chunk; the agent checks it. */
  readonly chunkToken: string;
}

/** Connections to one agent; a client moves only a few chunks at once. */
const CONNECTIONS_PER_NODE = 64;
const IDLE_CONNECTIONS_PER_NODE = 4;
/** Headers of the agent's answer that concern the chunk and not the connection. */
const ANSWER_HEADERS: readonly string[] = ['content-type', 'content-length', 'retry-after', MD5_HEADER];

export class ChunkRelay {
  readonly #pool: PeerPool = {
    agent: new Agent({
      keepAlive: true,
      maxSockets: CONNECTIONS_PER_NODE,
      maxFreeSockets: IDLE_CONNECTIONS_PER_NODE,
    }),
    begin,
  };

  constructor(private readonly stallMs: number) {}

  /** Answers the request. Codes, before anything was answered: unavailable, cancelled. */
  async relay(request: IncomingMessage, response: ServerResponse, target: RelayTarget): Promise<void> {
    const gone = new AbortController();
    const onClose = (): void => {
      gone.abort();
    };
    response.once('close', onClose);
    try {
      const exchange = new PeerExchange(chunkAt(target.address, target.chunkId, target.chunkToken), {
        method: request.method ?? 'GET',
        headers: bodyHeaders(request),
        pool: this.#pool,
        // A client that neither sends nor receives makes this connection silent, too.
        stallMs: this.stallMs,
        signal: gone.signal,
        peer: 'its node',
      });
      // The answer may begin before the whole body has been sent.
      exchange.sendFrom(request);
      const answer = await exchange.head().catch(notThrough);
      response.writeHead(answer.statusCode ?? 502, passed(answer));
      await pipeline(answer, response, { signal: gone.signal });
    } catch (error) {
      if (gone.signal.aborted) throw new NexusError('cancelled', 'the client went away', {}, { cause: error });
      throw error;
    } finally {
      response.off('close', onClose);
    }
  }

  close(): void {
    this.#pool.agent.destroy();
  }
}

/** Code: unavailable, also for one that is too slow: another copy may be quicker. */
function notThrough(cause: unknown): never {
  const { message } = toNexusError(cause);
  throw new NexusError('unavailable', `the chunk was not transferred: ${message}`, {}, { cause });
}

function bodyHeaders({ headers }: IncomingMessage): Record<string, string> {
  const md5 = headers[MD5_HEADER];
  return {
    ...(headers['content-length'] === undefined ? {} : { 'content-length': headers['content-length'] }),
    ...(typeof md5 === 'string' ? { [MD5_HEADER]: md5 } : {}),
  };
}

function passed({ headers }: IncomingMessage): Record<string, string> {
  const known = ANSWER_HEADERS.map((name): [string, unknown] => [name, headers[name]]);
  return Object.fromEntries(known.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
