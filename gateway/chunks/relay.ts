/**
 * Chunk bytes on their way between a client on another machine and a node's agent: one request in, the same one out,
 * nothing kept in between. The way back is the agent's answer as it is. Whichever side goes away takes the other along,
 * and neither may be silent for longer than the bound.
 */
import { Agent, request as beginRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { chunkPath, MD5_HEADER } from '../../shared/data-plane.js';
import { NexusError } from '../../shared/errors.js';

export interface RelayTarget {
  /** host:port of the agent: only ever what the controller says of a node. */
  readonly address: string;
  readonly chunkId: string;
  /** The right to this one chunk, which the agent checks. */
  readonly chunkToken: string;
}

/** To one agent; a client has no more than a few chunks on their way. */
const CONNECTIONS_PER_NODE = 64;
const IDLE_CONNECTIONS_PER_NODE = 4;
/** What of the agent's answer is about the chunk and not about the connection. */
const ANSWER_HEADERS: readonly string[] = ['content-type', 'content-length', 'retry-after', MD5_HEADER];

export class ChunkRelay {
  readonly #agent = new Agent({
    keepAlive: true,
    maxSockets: CONNECTIONS_PER_NODE,
    maxFreeSockets: IDLE_CONNECTIONS_PER_NODE,
  });

  constructor(private readonly stallMs: number) {}

  /** Answers the request. Codes, before anything was answered: unavailable, cancelled. */
  async relay(request: IncomingMessage, response: ServerResponse, target: RelayTarget): Promise<void> {
    const gone = new AbortController();
    const onClose = (): void => {
      gone.abort();
    };
    response.once('close', onClose);
    try {
      const answer = await this.#send(request, target, gone.signal);
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
    this.#agent.destroy();
  }

  /** Resolves with the head of the answer, which may come before all of the body has gone. */
  #send(request: IncomingMessage, target: RelayTarget, signal: AbortSignal): Promise<IncomingMessage> {
    const colon = target.address.lastIndexOf(':');
    return new Promise((resolve, reject) => {
      const outgoing = beginRequest({
        agent: this.#agent,
        signal,
        method: request.method ?? 'GET',
        host: target.address.slice(0, colon),
        port: Number(target.address.slice(colon + 1)),
        path: chunkPath(target.chunkId),
        headers: { ...bodyHeaders(request), authorization: `Bearer ${target.chunkToken}` },
      });
      const fail = (cause: Error): void => {
        reject(new NexusError('unavailable', `the chunk did not get through: ${cause.message}`, {}, { cause }));
      };
      // A client that neither sends nor takes makes this connection silent, too.
      outgoing.setTimeout(this.stallMs, () => outgoing.destroy(new Error('nothing came or went for too long')));
      outgoing.once('response', resolve);
      outgoing.on('error', fail);
      // Not a pipeline, which would end the client's connection with this one: it is to read what went wrong.
      request.pipe(outgoing);
    });
  }
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
