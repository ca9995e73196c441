/**
 * One exchange with an agent over HTTP/1.1: a request with its body, and the answer. The only client of agents. Every
 * wait has a bound: for the connection or the head of the answer, and for silence in either direction. However it fails,
 * the connection is closed, and the failure has a code. (The agent loads this file: nothing here may load TLS.)
 */
import { request, type Agent, type ClientRequest, type IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { after, cancel } from '../async/timers.js';
import { deferred, onAbort } from '../async/wait.js';
import { refusalIn } from '../data-plane.js';
import { NexusError } from '../errors.js';
import { KIB } from '../limits.js';
import type { PeerPlace } from './address.js';

/** Longest answer that is not a chunk: receipts, or a refusal. */
const MAX_REPLY_BYTES = 64 * KIB;

/** Connections that are kept for further requests. */
export interface PeerPool {
  readonly agent: Agent;
  /** `request` of node:http, or of node:https. */
  readonly begin: typeof request;
}

export interface PeerRequest {
  readonly method: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  /** Without: a connection of its own. Agents come and go, and a stale pooled one would fail a healthy peer. */
  readonly pool?: PeerPool;
  /** Bounds the time until the head of the answer. */
  readonly answerMs?: number;
  /** Without `answerMs`: bounds the time until the peer accepts the connection, from when it is begun; else `stallMs`. */
  readonly connectMs?: number;
  /** Bounds silence on the connection. Node begins to count once there is one: until then `connectMs` does. */
  readonly stallMs: number;
  readonly signal?: AbortSignal;
  /** Name of the peer for errors. */
  readonly peer?: string;
}

const ignored = (): void => undefined;

export class PeerExchange {
  readonly #outgoing: ClientRequest;
  readonly #answer: Promise<IncomingMessage>;
  readonly #failed: Promise<never>;
  #reject: (error: NexusError) => void = ignored;
  #failure: NexusError | undefined;
  #isAnswered = false;
  #stallMs = 0;
  #onWritable = ignored;
  #release = ignored;

  constructor(
    { headers: rights, ...place }: PeerPlace,
    private readonly options: PeerRequest,
  ) {
    const { method, headers, pool, signal } = options;
    const failed = deferred<never>();
    this.#failed = failed.promise;
    this.#reject = failed.reject;
    // Awaited by whoever reads the answer. The no-op catch stops Node reporting an unhandled rejection meanwhile.
    this.#failed.catch(ignored);
    const outgoing = (pool?.begin ?? request)({
      ...place,
      method,
      headers: { ...headers, ...rights },
      agent: pool?.agent ?? false,
    });
    this.#outgoing = outgoing;
    const answered = deferred<IncomingMessage>();
    this.#answer = answered.promise;
    outgoing.once('response', (answer) => {
      this.#isAnswered = true;
      answered.resolve(answer);
    });
    this.#boundSilence(options.stallMs);
    outgoing.on('timeout', () => {
      this.#fail(tooLate(`no data was sent or received for ${this.#stallMs / 1000} s`));
    });
    outgoing.on('error', (error) => {
      this.#fail(error);
    });
    outgoing.on('drain', () => {
      this.#onWritable();
    });
    this.#boundTime();
    const listening = onAbort(signal, (reason) => {
      this.#fail(new NexusError('cancelled', 'the request was cancelled', {}, { cause: reason }));
    });
    outgoing.once('close', () => {
      listening[Symbol.dispose]();
      if (!this.#isAnswered) this.#fail(new Error('the connection was closed'));
    });
  }

  /** Returns a promise to wait for before the next piece, when the peer is slower than the sender. Never rejects. */
  write(piece: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined || this.#outgoing.write(piece)) return undefined;
    const writable = deferred();
    this.#onWritable = writable.resolve;
    return writable.promise;
  }

  /** Ends the body. `stallMs` bounds silence from when the peer's host has all of it: answering may take longer. */
  end(last?: Buffer, stallMs?: number): void {
    if (this.#failure !== undefined) return;
    if (stallMs !== undefined)
      this.#outgoing.once('finish', () => {
        this.#boundSilence(stallMs);
      });
    this.#outgoing.end(last);
  }

  /** Sends all of `source`. It is left open when the exchange fails: its client must still receive the error. */
  sendFrom(source: Readable): void {
    if (this.#failure === undefined) source.pipe(this.#outgoing);
  }

  /** Resolves with the head of the answer. Codes: unavailable, deadline_exceeded, cancelled. */
  async head(): Promise<IncomingMessage> {
    return await Promise.race([this.#answer, this.#failed]);
  }

  /** As `head`, when the peer agrees. Codes: also that of the peer's refusal. */
  async accepted(): Promise<IncomingMessage> {
    const answer = await this.head();
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    const said = await Promise.race([replyText(answer), this.#failed]);
    throw refusalIn(said) ?? new NexusError('unavailable', `it answered with HTTP status ${status}`);
  }

  /**
   * Reads an accepted answer. Rejects as soon as the exchange fails, without waiting for `reader`. Codes: those of
   * `accepted` and of `reader`.
   */
  async read<Result>(reader: (answer: IncomingMessage) => Promise<Result>): Promise<Result> {
    const reading = async (): Promise<Result> => await reader(await this.accepted());
    try {
      return await Promise.race([reading(), this.#failed]);
    } catch (error) {
      throw this.#fail(error);
    }
  }

  /** Closes the connection, unless the answer has been read. */
  [Symbol.dispose](): void {
    this.#fail(new NexusError('cancelled', 'the request was given up'));
  }

  /** The first failure counts; returns it. */
  #fail(thrown: unknown): NexusError {
    if (this.#failure !== undefined) return this.#failure;
    this.#failure = thrown instanceof NexusError ? thrown : this.#unavailable(thrown);
    this.#release();
    this.#outgoing.destroy();
    this.#onWritable();
    this.#reject(this.#failure);
    return this.#failure;
  }

  #unavailable(cause: unknown): NexusError {
    const said = cause instanceof Error ? cause.message : String(cause);
    return new NexusError('unavailable', `${this.options.peer ?? 'it'} does not answer: ${said}`, {}, { cause });
  }

  #boundSilence(ms: number): void {
    this.#stallMs = ms;
    this.#outgoing.setTimeout(ms);
  }

  #boundTime(): void {
    const { answerMs, stallMs, connectMs = stallMs } = this.options;
    if (answerMs !== undefined) this.#failAfter(answerMs, 'answer');
    else
      // Counts from when the connection is begun: a request may wait for a place in the pool first, and those that
      // have the places are bounded themselves.
      this.#outgoing.once('socket', (socket) => {
        if (!socket.connecting || this.#failure !== undefined) return;
        this.#failAfter(connectMs, 'connection');
        socket.once('connect', this.#release);
      });
  }

  #failAfter(ms: number, what: string): void {
    const timer = after(ms, () => {
      this.#fail(tooLate(`no ${what} within ${ms / 1000} s`));
    });
    this.#release = () => {
      cancel(timer);
    };
    this.#outgoing.once('response', this.#release);
  }
}

const tooLate = (said: string): NexusError => new NexusError('deadline_exceeded', said);

/** The whole of a short answer. Codes: unavailable (it is too long). */
export async function replyText(answer: IncomingMessage, mostBytes = MAX_REPLY_BYTES): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of answer as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > mostBytes) throw new NexusError('unavailable', 'its answer is longer than any can be');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
