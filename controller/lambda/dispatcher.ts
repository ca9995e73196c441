/**
 * Assigns invocations to nodes, first come, first served among those that can start now: a user at the limit, or a call
 * that waits for one node, delays nobody else. The queue and each wait are bounded.
 */
import { onAbort, outcome } from '../../shared/async/wait.js';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { planPlacement, type LambdaNode } from './plan.js';

export interface DispatcherOptions {
  readonly clock: Clock;
  /** Nodes without what this dispatcher has placed on them. */
  nodes(): readonly Omit<LambdaNode, 'reservedBytes' | 'running'>[];
  readonly concurrency: number;
  readonly userConcurrency: number;
  readonly queueLength: number;
  readonly queueTimeoutMs: number;
}

export interface PlaceRequest {
  readonly user: string;
  readonly memoryBytes: number;
  readonly node: NodeId | undefined;
}

export interface Place {
  readonly node: LambdaNode;
  readonly reason: string;
  /** Idempotent. */
  release(): void;
}

interface Waiting {
  readonly request: PlaceRequest;
  readonly resolve: (place: Place) => void;
  readonly reject: (error: NexusError) => void;
}

/** `retry_after_ms` of a refusal: a typical invocation has ended by then. */
const RETRY_AFTER_MS = 1000;

export class Dispatcher {
  readonly #waiting: Waiting[] = [];
  readonly #placed = new Set<PlaceRequest & { readonly node: NodeId }>();

  constructor(private readonly options: DispatcherOptions) {}

  get queueLength(): number {
    return this.#waiting.length;
  }

  get running(): number {
    return this.#placed.size;
  }

  /** Codes: failed_precondition (no node can take it), resource_exhausted (retry_after_ms in the details), cancelled. */
  async enter(request: PlaceRequest, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted();
    const place = this.#tryPlace(request);
    if (place !== undefined) return place;
    if (this.#waiting.length >= this.options.queueLength)
      throw busy(`${this.#waiting.length} invocations wait already`);
    return await this.#wait(request, signal);
  }

  /** Places waiting invocations after a change: one has ended, or a node has changed. */
  kick(): void {
    for (const waiting of [...this.#waiting]) {
      try {
        const place = this.#tryPlace(waiting.request);
        if (place === undefined) continue;
        this.#forget(waiting);
        waiting.resolve(place);
      } catch (error) {
        this.#forget(waiting);
        waiting.reject(toNexusError(error));
      }
    }
  }

  /** Returns every node with what runs on it. */
  snapshot(): LambdaNode[] {
    return this.options.nodes().map((node) => {
      const here = [...this.#placed].filter((placed) => placed.node === node.id);
      const reservedBytes = here.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
      return { ...node, running: here.length, reservedBytes };
    });
  }

  #wait(request: PlaceRequest, signal: AbortSignal): Promise<Place> {
    return outcome((resolve, reject) => {
      const waiting: Waiting = { request, resolve, reject };
      this.#waiting.push(waiting);
      // At once, and not when the wait is over: a place must not be given to a caller that has gone.
      const fail = (error: NexusError): void => {
        this.#forget(waiting);
        reject(error);
      };
      const gone = onAbort(signal, () => fail(new NexusError('cancelled', 'the caller went away')));
      const settled = new AbortController();
      const { clock, queueTimeoutMs } = this.options;
      clock.sleep(queueTimeoutMs, settled.signal).then(
        () => {
          fail(busy(`no place was free within ${queueTimeoutMs / 1000} s${this.#whyFull(request)}`));
        },
        () => undefined,
      );
      return () => {
        settled.abort();
        gone[Symbol.dispose]();
      };
    });
  }

  #forget(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** Explains which nodes are full; empty if there is room on a node and only a concurrency limit is reached. */
  #whyFull({ memoryBytes, node }: PlaceRequest): string {
    const plan = planPlacement(this.snapshot(), memoryBytes, node);
    return plan.kind === 'place' ? '' : ` (${listed(plan.reasons)})`;
  }

  /** Undefined: it has to wait. Code: failed_precondition. */
  #tryPlace(request: PlaceRequest): Place | undefined {
    const plan = planPlacement(this.snapshot(), request.memoryBytes, request.node);
    if (plan.kind === 'refuse') throw noNode(plan.reasons, request);
    const ofUser = [...this.#placed].filter(({ user }) => user === request.user).length;
    const isFull = this.#placed.size >= this.options.concurrency || ofUser >= this.options.userConcurrency;
    if (plan.kind === 'wait' || isFull) return undefined;
    const placed = { ...request, node: plan.node.id };
    this.#placed.add(placed);
    const release = (): void => {
      if (this.#placed.delete(placed)) this.kick();
    };
    return { node: plan.node, reason: plan.reason, release };
  }
}

const busy = (why: string): NexusError =>
  new NexusError('resource_exhausted', `the sandboxes are busy: ${why}; try again in a moment`, {
    retry_after_ms: RETRY_AFTER_MS,
  });

function noNode(reasons: Readonly<Record<string, string>>, { memoryBytes }: PlaceRequest): NexusError {
  const megabytes = Math.ceil(memoryBytes / 2 ** 20);
  if (Object.keys(reasons).length === 0) {
    const advice = { key: 'create-node' } as const;
    return new NexusError('failed_precondition', 'there is no node to run code on', {}, { advice });
  }
  return new NexusError(
    'failed_precondition',
    `no node has room for an invocation of ${megabytes} MB: ${listed(reasons)}; add or uncordon a node, or ask for less memory`,
  );
}

function listed(reasons: Readonly<Record<string, string>>): string {
  const named = Object.entries(reasons).map(([name, why]) => `${name} ${why}`);
  return named.slice(0, 5).join(', ') + (named.length > 5 ? `, and ${named.length - 5} more` : '');
}
