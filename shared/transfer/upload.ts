/**
 * Sends a stream of bytes as chunks: while one is read, another is hashed in a thread of its own and others are sent.
 * Receipts go to the controller with the next request for grants. A node that fails costs a new grant for its chunk. An
 * upload that fails in the end is aborted and leaves nothing.
 */
import { cancel, every } from '../async/timers.js';
import { systemClock } from '../async/clock.js';
import { NexusError, toNexusError } from '../errors.js';
import { CHUNK_SIZE_BYTES } from '../limits.js';
import { ChunkBuffers } from './buffers.js';
import { ChunkClient } from './chunk-client.js';
import { ChunkHasher } from './hasher.js';
import type { ChunkGrant, ChunkReceipt, GrantRequest, OpenedUpload, UploadCatalogue, UploadRequest } from './port.js';

/** Chunks sent at once. More would only queue, as hashing uses one processor. */
const CONCURRENT_PUTS = 2;
/** One being filled and one being hashed, besides those being sent. */
const BUFFERS = CONCURRENT_PUTS + 2;
const GRANTS_AHEAD = 8;
const ATTEMPTS_PER_CHUNK = 4;
/** Signs of life per lease, so that one or two may be lost. */
const SIGNS_PER_LEASE = 5;
/** Codes of the controller when no node is left for a copy, or when the copy is no longer missing. */
const NO_OTHER_PLACE: readonly string[] = ['unavailable', 'failed_precondition', 'resource_exhausted'];

/** Codes: those of the catalogue and the agents; cancelled. */
export async function uploadFile<File>(catalogue: UploadCatalogue<File>, request: UploadRequest): Promise<File> {
  const { name, replicas, expectedSize } = request;
  const explicitSizes = request.chunkSizes !== undefined;
  const opened = await catalogue.openUpload({ name, replicas, expectedSize, explicitSizes });
  const { uploadId } = opened;
  const client = new ChunkClient(CONCURRENT_PUTS, catalogue.route);
  const hasher = new ChunkHasher();
  try {
    return await new Upload(catalogue, client, hasher, opened, request).run();
  } catch (error) {
    // The controller also expires it, but a caller that sees the error should not have to wait for that.
    await catalogue.abortUpload(uploadId).catch(() => undefined);
    throw toNexusError(error);
  } finally {
    client.close();
    hasher.close();
  }
}

class Upload<File> {
  readonly #buffers: ChunkBuffers;
  readonly #receipts: ChunkReceipt[] = [];
  readonly #sending = new Set<Promise<void>>();
  #grants: ChunkGrant[] = [];
  #granting: Promise<void> | undefined;
  #failure: NexusError | undefined;
  #size = 0;
  /** Chunks granted so far. */
  #granted = 0;
  #spokeAt = systemClock.monotonic();
  readonly #sizes: Iterator<number> | undefined;

  constructor(
    private readonly catalogue: UploadCatalogue<File>,
    private readonly client: ChunkClient,
    private readonly hasher: ChunkHasher,
    private readonly opened: OpenedUpload,
    private readonly request: UploadRequest,
  ) {
    this.#sizes = request.chunkSizes?.[Symbol.iterator]();
    this.#buffers = new ChunkBuffers(BUFFERS, Math.min(CHUNK_SIZE_BYTES, request.atMostBytes ?? Infinity));
  }

  async run(): Promise<File> {
    let chunksCount = 0;
    const stopSigns = this.#giveSigns();
    try {
      while (await this.#sendNext()) chunksCount += 1;
    } finally {
      // Nothing may still be using a buffer or the client when the caller goes on.
      await Promise.allSettled(this.#sending);
      // Receipts may be on their way with a request for grants, which a commit must not overtake.
      await this.#granting?.catch(() => undefined);
      stopSigns();
      this.#buffers.close();
      this.request.source.close?.();
      this.#sizes?.return?.();
    }
    this.#throwFailure();
    const { uploadId, fileId } = this.opened;
    return await this.catalogue.commitUpload(uploadId, {
      ...(fileId === undefined ? {} : { fileId }),
      size: this.#size,
      chunksCount,
      receipts: this.#receipts.splice(0),
    });
  }

  /**
   * Sends signs of life: the controller undoes an upload whose sender is silent, but a source may have nothing for a
   * long time, and a chunk may take long to send. They end with this process.
   */
  #giveSigns(): () => void {
    const { leaseMs = 0 } = this.opened;
    if (leaseMs === 0) return () => undefined;
    const everyMs = leaseMs / SIGNS_PER_LEASE;
    let isSpeaking = false;
    const timer = every(everyMs / 2, () => {
      if (isSpeaking || systemClock.monotonic() - this.#spokeAt < everyMs) return;
      isSpeaking = true;
      this.#grant({ count: 0, retry: [], receipts: [] })
        .catch((error: unknown) => {
          // The upload is gone, so nothing sent for it counts. Other failures surface where they matter.
          if (toNexusError(error).code === 'not_found') this.#failure ??= toNexusError(error);
        })
        .finally(() => {
          isSpeaking = false;
        });
    });
    return () => cancel(timer);
  }

  #grant(request: GrantRequest): Promise<readonly ChunkGrant[]> {
    this.#spokeAt = systemClock.monotonic();
    return this.catalogue.grantChunks(this.opened.uploadId, request);
  }

  /** Fills one buffer and begins to send it; false at the end of the source. */
  async #sendNext(): Promise<boolean> {
    const buffer = await this.#buffers.take();
    this.#throwFailure();
    const size = await this.#fill(buffer);
    this.#throwFailure();
    if (size === 0) return false;
    this.#size += size;
    const grant = this.#sizes === undefined ? await this.#nextGrant() : await this.#grantOf(size);
    const sending = this.hasher
      .hash(buffer, size)
      .then((md5) => this.#send(grant, buffer.subarray(0, size), md5))
      .catch((error: unknown) => {
        this.#failure ??= toNexusError(error);
      })
      .finally(() => {
        this.#sending.delete(sending);
        this.#buffers.give(buffer);
      });
    this.#sending.add(sending);
    return true;
  }

  /** Reads one chunk; 0 at the end. Code: invalid_argument if the source goes on after the last explicit size. */
  async #fill(buffer: Buffer): Promise<number> {
    const { source } = this.request;
    if (this.#sizes === undefined) return await source.fill(buffer);
    const next = this.#sizes.next();
    if (next.done === true) {
      if ((await source.fill(buffer.subarray(0, 1))) === 0) return 0;
      throw new NexusError('invalid_argument', 'there are more bytes than the sizes of the chunks add up to');
    }
    if (!(Number.isInteger(next.value) && next.value >= 1 && next.value <= CHUNK_SIZE_BYTES))
      throw new NexusError('invalid_argument', `a chunk has 1 to ${CHUNK_SIZE_BYTES} bytes, not ${next.value}`);
    return await source.fill(buffer.subarray(0, next.value));
  }

  #throwFailure(): void {
    if (this.request.signal.aborted) throw new NexusError('cancelled', 'the upload was cancelled');
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #nextGrant(): Promise<ChunkGrant> {
    if (this.#grants.length === 0) await (this.#granting ?? this.#fetchGrants(1 + this.#chunksToCome()));
    const grant = this.#grants.shift();
    if (grant === undefined) throw new NexusError('internal', 'the controller granted no chunk');
    const missing = this.#chunksToCome() - this.#grants.length;
    // Requested ahead, so that sending never waits for it; a failure matters only when the grants are needed.
    if (missing > 0 && this.#grants.length <= GRANTS_AHEAD / 2 && this.#granting === undefined) {
      this.#granting = this.#fetchGrants(missing).finally(() => {
        this.#granting = undefined;
      });
      this.#granting.catch(() => undefined);
    }
    return grant;
  }

  /** Asks for the grant of a chunk whose size is known only now: one call for each. */
  async #grantOf(size: number): Promise<ChunkGrant> {
    await this.#fetchGrants(1, [size]);
    const grant = this.#grants.shift();
    if (grant === undefined) throw new NexusError('internal', 'the controller granted nothing');
    return grant;
  }

  /** Chunks after those already read: exact if the size is known, so that no room is reserved in vain. */
  #chunksToCome(): number {
    if (this.request.expectedSize === 0) return GRANTS_AHEAD;
    return Math.max(0, Math.ceil((this.request.expectedSize - this.#size) / CHUNK_SIZE_BYTES));
  }

  async #fetchGrants(wanted: number, sizes: readonly number[] = []): Promise<void> {
    const receipts = this.#receipts.splice(0);
    const count = Math.min(GRANTS_AHEAD, wanted);
    try {
      const grants = await this.#grant({ count, fromIndex: this.#granted, sizes, retry: [], receipts });
      this.#granted += grants.length;
      this.#grants.push(...grants);
    } catch (error) {
      // A request ahead may fail without harm, but its receipts must not be lost: they go with the next one, or the
      // commit.
      this.#receipts.unshift(...receipts);
      throw error;
    }
  }

  async #send(first: ChunkGrant, data: Buffer, md5: string): Promise<void> {
    let grant = first;
    /** One copy is stored and its receipt is in: further ones are worth an attempt, but not the upload. */
    let isStored = false;
    const failedNodeIds: string[] = [];
    for (let attempt = 1; ; attempt += 1) {
      const [target] = grant.targets;
      if (target === undefined) throw new NexusError('internal', `chunk ${grant.index} was granted no node`);
      let again: ChunkGrant | undefined;
      try {
        const stored = await this.client.put(target, grant.chunkId, data, md5, this.request.signal);
        const receipts = stored.receipts.map((receipt) => ({ index: grant.index, receipt }));
        again = await this.#replaceFailed(grant.index, stored.failed_nodes, receipts, attempt);
        isStored = true;
      } catch (thrown) {
        const error = toNexusError(thrown).during(`chunk ${grant.index} to node ${target.nodeName}`);
        if (error.code === 'cancelled') throw error;
        failedNodeIds.push(target.nodeId);
        again =
          attempt === ATTEMPTS_PER_CHUNK
            ? undefined
            : await this.#regrant(grant.index, [...failedNodeIds]).catch(() => undefined);
        // No other place is left, so the original failure is reported.
        if (again === undefined && !isStored) throw error;
      }
      if (again === undefined) {
        this.request.onProgress?.(data.length);
        return;
      }
      grant = again;
    }
  }

  /**
   * Asks for other places for copies that the first node could not forward; undefined when nothing is left to send. If
   * there is no other node, the chunk keeps fewer copies, which the controller reports and repairs.
   */
  async #replaceFailed(
    index: number,
    failedNodeIds: readonly string[],
    receipts: readonly ChunkReceipt[],
    attempt: number,
  ): Promise<ChunkGrant | undefined> {
    if (failedNodeIds.length === 0 || attempt === ATTEMPTS_PER_CHUNK) {
      this.#receipts.push(...receipts);
      return undefined;
    }
    const retry = [{ index, failedNodeIds }];
    try {
      const [grant] = await this.#grant({ count: 0, retry, receipts });
      return grant?.targets.length === 0 ? undefined : grant;
    } catch (error) {
      this.#receipts.push(...receipts);
      if (!NO_OTHER_PLACE.includes(toNexusError(error).code)) throw error;
      return undefined;
    }
  }

  /** Undefined if there is no other place. */
  async #regrant(index: number, failedNodeIds: readonly string[]): Promise<ChunkGrant | undefined> {
    const retry = [{ index, failedNodeIds }];
    const [grant] = await this.#grant({ count: 0, retry, receipts: [] });
    return grant?.targets.length === 0 ? undefined : grant;
  }
}
