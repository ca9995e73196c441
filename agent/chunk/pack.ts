/**
 * POST of a pack: many small chunks by one request, made durable together, and sent on to the further replicas that the
 * token names at the same time. Each chunk succeeds or fails by itself; the one receipt names those that are durable.
 */
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { signClaims, verifyPackToken, type ForwardTarget, type PackTokenClaims } from '../../shared/chunk-token.js';
import { packReplyIn, type PackHead, type PackReply } from '../../shared/data-plane.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { ChunkId } from '../../shared/ids.js';
import { MAX_PACK_REPLY_BYTES, MAX_REPLICAS, MIB } from '../../shared/limits.js';
import { packAt } from '../../shared/peer/address.js';
import { packHead } from '../../shared/peer/pack.js';
import { PeerExchange, replyText } from '../../shared/peer/exchange.js';
import { toAgentError } from '../volume/errors.js';
import type { Flushes, VolumeFlush } from '../volume/flush.js';
import type { VolumeHealth } from '../volume/health.js';
import { consumeBody } from './body.js';
import { FORWARD_STALL_MS } from './forward.js';
import type { ChunkFacts } from './layout.js';
import { PackBody } from './pack-body.js';
import { waitForAll, type PutContext } from './put.js';
import { ALONE, Together } from './together.js';
import type { ChunkWrite } from './write.js';

/** Bytes taken and not yet with the file system, beyond which the sender has to wait. */
const MOST_PENDING_BYTES = MIB / 2;
/** For all of the pack to become durable there; less than the sender waits. */
const REPLY_TIMEOUT_MS = 20_000;

export interface PackContext extends PutContext {
  readonly health?: Pick<VolumeHealth, 'suspect'>;
  /** Undefined: each chunk is synced by itself, where a flush of all would be one of the host's disk. */
  readonly flush?: VolumeFlush | undefined;
}

type Failure = PackReply['failures'][number];

/** Codes: unauthenticated, permission_denied, invalid_argument, unavailable. */
export async function putPack(context: PackContext, request: IncomingMessage, response: ServerResponse): Promise<void> {
  using _transfer = context.transfers.begin();
  // Answered only when the writes are over: whoever has the answer may write or read the chunks at once.
  const reply = JSON.stringify(await receive(context, request));
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(reply) });
  response.end(reply);
}

async function receive(context: PackContext, request: IncomingMessage): Promise<PackReply> {
  await using pack = new Pack(context);
  await consumeBody(request, (piece) => pack.take(piece));
  return await pack.finish();
}

interface Granted {
  readonly head: PackHead;
  readonly claims: PackTokenClaims;
  readonly forwards: readonly PackForward[];
  readonly flushes: Flushes | undefined;
}

class Pack implements AsyncDisposable {
  readonly #body = new PackBody({
    onHead: (head) => {
      this.#granted = this.#grant(head);
    },
    onChunk: (at, data) => this.#takeChunk(at, data),
  });
  #granted: Granted | undefined;
  readonly #writes: { readonly chunk: ChunkId; readonly write: ChunkWrite }[] = [];
  readonly #beginning: Promise<void>[] = [];
  readonly #failures: Failure[] = [];
  #pendingBytes = 0;
  /** Chunks of the piece that is being taken. */
  #toForward: Buffer[] = [];

  constructor(private readonly context: PackContext) {}

  take(piece: Buffer): Promise<void> | undefined {
    const waits = [this.#body.take(piece)];
    const data = Buffer.concat(this.#toForward);
    this.#toForward = [];
    // One write for a piece: a forward is not to be written to again before it asks for more.
    if (data.length > 0) for (const forward of this.#granted?.forwards ?? []) waits.push(forward.write(data));
    return waitForAll(waits);
  }

  #grant(head: PackHead): Granted {
    const { nodeId, tokenKey, clock, flush } = this.context;
    const claims = verifyPackToken(head.token, tokenKey, { node: nodeId, nowMs: clock.now() });
    const sizes = new Map(claims.chunks.map(({ chunk, size }) => [chunk, size]));
    const foreign = head.chunks.find(({ chunk, size }) => size > (sizes.get(chunk) ?? 0));
    if (foreign !== undefined)
      throw new NexusError(
        'permission_denied',
        `the token does not allow chunk ${foreign.chunk} of ${foreign.size} bytes`,
      );
    const targets = (claims.forward ?? []).slice(0, MAX_REPLICAS - 1);
    // Before the first write, so that no failure of one escapes it.
    return { head, claims, forwards: targets.map((target) => new PackForward(target, head)), flushes: flush?.begin() };
  }

  #takeChunk(at: number, data: Buffer): Promise<void> | undefined {
    this.#toForward.push(data);
    this.#pendingBytes += data.length;
    this.#beginning.push(
      this.#begin(at, data).finally(() => {
        this.#pendingBytes -= data.length;
      }),
    );
    return this.#pendingBytes > MOST_PENDING_BYTES ? waitForAll(this.#beginning) : undefined;
  }

  /** Never rejects. */
  async #begin(at: number, data: Buffer): Promise<void> {
    const { chunk: id, size, md5 } = this.#expect().head.chunks[at] ?? { chunk: '', size: 0, md5: '' };
    const of = this.#expect().claims.chunks.find((claim) => claim.chunk === id)?.of;
    const chunk = id as ChunkId;
    try {
      const write = await this.context.store.beginWrite(chunk, { size, md5, ...(of === undefined ? {} : { of }) });
      this.#writes.push({ chunk, write });
      await write.write(data);
    } catch (thrown) {
      this.#fail(chunk, thrown);
    }
  }

  #expect(): Granted {
    if (this.#granted === undefined) throw new NexusError('internal', 'a chunk came before the head of its pack');
    return this.#granted;
  }

  #fail(chunk: string, thrown: unknown): void {
    const { code, message } = toAgentError(thrown);
    this.#failures.push({ node: this.context.nodeId, chunk, code, error: message });
    if (code !== 'aborted') this.context.log.warn({ chunk, code, err: message }, 'a chunk of a pack was not stored');
  }

  /** Resolves when this node's copies are durable and all other nodes have answered or failed. Code: invalid_argument (the body ended early). */
  async finish(): Promise<PackReply> {
    this.#body.assertWhole();
    const { forwards, flushes } = this.#expect();
    await Promise.all(this.#beginning);
    const others = Promise.all(forwards.map((forward) => forward.finish()));
    const stored = await this.#commit(flushes);
    const receipts = stored.length === 0 ? [] : [this.#receipt(stored)];
    const failures = [...this.#failures];
    for (const reply of await others) {
      receipts.push(...reply.receipts);
      failures.push(...reply.failures);
    }
    return { receipts, failures };
  }

  async #commit(flushes: Flushes | undefined): Promise<{ readonly chunk: ChunkId; readonly facts: ChunkFacts }[]> {
    const failed = new Set(this.#failures.map(({ chunk }) => chunk));
    const writes = this.#writes.filter(({ chunk }) => !failed.has(chunk));
    const together =
      flushes === undefined
        ? undefined
        : new Together(
            writes.length,
            () => flushes.flush(),
            (path, text) => writeFile(path, text, { flag: 'wx', mode: 0o600 }),
          );
    const commit = async ({ chunk, write }: (typeof writes)[number]) => {
      using member = together?.member();
      try {
        return [{ chunk, facts: await write.commit(member ?? ALONE) }];
      } catch (thrown) {
        this.context.health?.suspect(thrown);
        this.#fail(chunk, thrown);
        return [];
      }
    };
    return (await Promise.all(writes.map(commit))).flat();
  }

  #receipt(stored: readonly { readonly chunk: ChunkId; readonly facts: ChunkFacts }[]): string {
    const { nodeId, clock, receiptKey } = this.context;
    const chunks = stored.map(({ chunk, facts: { size, md5 } }) => ({ chunk, size, md5 }));
    return signClaims({ node: nodeId, at: clock.now(), chunks }, receiptKey);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#beginning);
    for (const forward of this.#granted?.forwards ?? []) forward[Symbol.dispose]();
    await Promise.all(this.#writes.map(({ write }) => write[Symbol.asyncDispose]()));
    this.#granted?.flushes?.[Symbol.dispose]();
  }
}

/** A pack on its way to a further replica; one that fails is named in the reply. */
class PackForward implements Disposable {
  readonly #exchange: PeerExchange;
  readonly #reply: Promise<PackReply>;

  constructor(target: ForwardTarget, head: PackHead) {
    const bytes = packHead({ token: target.token, chunks: head.chunks });
    const size = head.chunks.reduce((sum, chunk) => sum + chunk.size, bytes.length);
    this.#exchange = new PeerExchange(packAt(target.address), {
      method: 'POST',
      headers: { 'content-length': size },
      stallMs: FORWARD_STALL_MS,
    });
    this.#reply = this.#exchange
      .read(async (answer) => packReplyIn(await replyText(answer, MAX_PACK_REPLY_BYTES)))
      .catch((thrown: unknown) => {
        const { code, message: error } = toNexusError(thrown).during(`forward to node ${target.node}`);
        return { receipts: [], failures: head.chunks.map(({ chunk }) => ({ node: target.node, chunk, code, error })) };
      });
    void this.#exchange.write(bytes);
  }

  write(data: Buffer): Promise<void> | undefined {
    return this.#exchange.write(data);
  }

  async finish(): Promise<PackReply> {
    this.#exchange.end(undefined, REPLY_TIMEOUT_MS);
    return await this.#reply;
  }

  [Symbol.dispose](): void {
    this.#exchange[Symbol.dispose]();
  }
}
