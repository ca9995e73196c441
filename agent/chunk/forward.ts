/**
 * Passes a chunk on to one further replica while it is being written here. A replica that fails never fails the write:
 * it is named in the reply, and the controller finds another place. A slow one slows the sender down, for a few seconds at
 * the most: a node that was killed answers nothing at all, not even that it is gone; memory holds what one socket buffers.
 */
import type { ForwardTarget } from '../../shared/chunk-token.js';
import { MD5_HEADER, storedReplyIn, type StoredReply } from '../../shared/data-plane.js';
import { toNexusError, type NexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import { chunkAt } from '../../shared/peer/address.js';
import { PeerExchange, replyText } from '../../shared/peer/exchange.js';
import type { ExpectedChunk } from './write.js';

/** A replica that takes nothing for so long is given up, before the sender gives this node up (chunk-client.ts). */
export const FORWARD_STALL_MS = 5000;
/** For the last of the chunk to become durable there. Also less than the sender waits. */
const REPLY_TIMEOUT_MS = 20_000;

export type ForwardResult = { readonly stored: StoredReply } | { readonly failed: NexusError };

export class Forward {
  readonly #exchange: PeerExchange;
  readonly #result: Promise<ForwardResult>;

  constructor(
    readonly target: ForwardTarget,
    chunk: ChunkId,
    { size, md5 }: ExpectedChunk,
    private readonly stallTimeoutMs = FORWARD_STALL_MS,
  ) {
    this.#exchange = new PeerExchange(chunkAt(target.address, chunk, target.token), {
      method: 'PUT',
      headers: { 'content-length': size, [MD5_HEADER]: md5 },
      stallMs: stallTimeoutMs,
    });
    this.#result = this.#outcome();
  }

  /** Returns a promise to wait for before the next piece, when the replica is slower than the sender. Never rejects. */
  write(piece: Buffer): Promise<void> | undefined {
    return this.#exchange.write(piece);
  }

  /** After the last piece. Never rejects. */
  async finish(): Promise<ForwardResult> {
    this.#exchange.end(undefined, Math.max(this.stallTimeoutMs, REPLY_TIMEOUT_MS));
    return await this.#result;
  }

  /** Gives the replica up; after `finish` it does nothing. */
  [Symbol.dispose](): void {
    this.#exchange[Symbol.dispose]();
  }

  async #outcome(): Promise<ForwardResult> {
    try {
      return { stored: await this.#exchange.read(async (answer) => storedReplyIn(await replyText(answer))) };
    } catch (error) {
      return { failed: toNexusError(error).during(`forward to node ${this.target.node}`) };
    }
  }
}
