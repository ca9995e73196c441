/**
 * Passes a chunk on to one further replica while it is being written here. A replica that fails never fails the write:
 * it is named in the reply, and the controller finds another place. A slow one slows the sender down, for a few seconds at
 * the most: a node that was killed answers nothing at all, not even that it is gone; memory holds what one socket buffers.
 */
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { deferred, outcome } from '../../shared/async/wait.js';
import type { ForwardTarget } from '../../shared/chunk-token.js';
import { chunkPath, MD5_HEADER, refusalIn, storedReplyIn, type StoredReply } from '../../shared/data-plane.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import { KIB } from '../../shared/limits.js';
import type { ExpectedChunk } from './write.js';

/** A replica that takes nothing for so long is given up, before the sender gives this node up (chunk-client.ts). */
export const FORWARD_STALL_MS = 5000;
/** For the last of the chunk to become durable there. Also less than the sender waits. */
const REPLY_TIMEOUT_MS = 20_000;
/** A reply is a few receipts. */
const MAX_REPLY_BYTES = 64 * KIB;

export type ForwardResult = { readonly stored: StoredReply } | { readonly failed: NexusError };

export class Forward {
  readonly #request: ClientRequest;
  readonly #result: Promise<ForwardResult>;
  #failure: NexusError | undefined;
  #onWritable: (() => void) | undefined;

  constructor(
    readonly target: ForwardTarget,
    chunk: ChunkId,
    { size, md5 }: ExpectedChunk,
    private readonly stallTimeoutMs = FORWARD_STALL_MS,
  ) {
    const { hostname, port } = new URL(`http://${target.address}`);
    this.#request = request({
      host: hostname,
      port,
      method: 'PUT',
      path: chunkPath(chunk),
      headers: { authorization: `Bearer ${target.token}`, 'content-length': size, [MD5_HEADER]: md5 },
      // A connection for each chunk: agents come and go, and a stale pooled one would fail a healthy replica.
      agent: false,
      timeout: stallTimeoutMs,
    });
    this.#request.on('timeout', () => {
      this.#request.destroy(
        new NexusError('deadline_exceeded', `node ${target.node} did not take or answer anything in time`),
      );
    });
    this.#request.on('drain', () => this.#onWritable?.());
    this.#result = this.#outcome();
    void this.#result.then((result) => {
      if ('failed' in result) this.#failure = result.failed;
      this.#onWritable?.();
    });
  }

  /** A promise to wait for before the next piece, when the replica is slower than the sender. Never rejects. */
  write(piece: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined || this.#request.write(piece)) return undefined;
    const writable = deferred();
    this.#onWritable = writable.resolve;
    return writable.promise;
  }

  /** After the last piece. Never rejects. */
  async finish(): Promise<ForwardResult> {
    if (this.#failure === undefined) {
      this.#request.setTimeout(Math.max(this.stallTimeoutMs, REPLY_TIMEOUT_MS));
      this.#request.end();
    }
    return await this.#result;
  }

  /** Gives the replica up; after `finish` it does nothing. */
  [Symbol.dispose](): void {
    this.#request.destroy();
  }

  #outcome(): Promise<ForwardResult> {
    return outcome((resolve) => {
      const fail = (error: unknown): void => {
        resolve({ failed: toNexusError(error).during(`forward to node ${this.target.node}`) });
      };
      this.#request.on('error', fail);
      const onClose = (): void => {
        fail(new NexusError('unavailable', 'the connection was closed'));
      };
      this.#request.on('close', onClose);
      this.#request.on('response', (response) => {
        // The connection may close before all of the answer is read; reading tells whether it was whole.
        this.#request.off('close', onClose);
        readReply(response).then((stored) => {
          resolve({ stored });
        }, fail);
      });
      return undefined;
    });
  }
}

async function readReply(response: IncomingMessage): Promise<StoredReply> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MAX_REPLY_BYTES) throw new NexusError('internal', 'the reply is too long');
    parts.push(part);
  }
  const text = Buffer.concat(parts).toString('utf8');
  if (response.statusCode !== 200 && response.statusCode !== 201) {
    const status = response.statusCode ?? 0;
    throw refusalIn(text) ?? new NexusError('unavailable', `it answered with HTTP status ${status}`);
  }
  return storedReplyIn(text);
}
