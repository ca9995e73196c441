/**
 * One invocation from request to result: a place on a node, a sandbox (warm or made for it), the code, and the end of the
 * sandbox, whatever happens. A caller that goes away ends its sandbox.
 */
import type { Advice } from '../../shared/advice/advice.js';
import type { Clock } from '../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import type { Dispatcher, Place } from './dispatcher.js';
import type { WarmPool } from './pool.js';
import type { Residents } from './residents.js';
import type { Invocation, Sandbox } from './sandbox/port.js';
import type { LambdaStatistics, Reason } from './statistics.js';
import { Watchdog, type Interruption, type OnOutput, type WatchLimits } from './watchdog.js';

export interface LambdaRequest extends Invocation, Pick<WatchLimits, 'timeoutMs'> {
  readonly user: string;
  readonly node: NodeId | undefined;
}

export interface LambdaResult {
  /** The code's own; 124 after a timeout, 137 when it was ended for anything else: what the command exits with. */
  readonly exitCode: number;
  readonly executionTimeMs: number;
  readonly peakMemoryBytes: number;
  readonly reason: Reason;
  readonly node: string;
  readonly warm: boolean;
  readonly queuedMs: number;
  /** JSON text of what the handler returned; undefined: there is nothing. */
  readonly result: string | undefined;
}

export interface InvokerDeps {
  readonly residents: Residents;
  readonly dispatcher: Dispatcher;
  readonly pool: WarmPool;
  readonly statistics: LambdaStatistics;
  readonly outputBytes: number;
  readonly clock: Clock;
  /** A sandbox was taken from the pool. */
  refill(): void;
}

/** A warm sandbox may have died while it waited; the next one is fresh. */
const ATTEMPTS = 3;

export class Invoker {
  readonly #running = new Set<Sandbox>();

  constructor(private readonly deps: InvokerDeps) {}

  /** Codes: those of Dispatcher.enter and Residents.create; unavailable when something else ends the sandbox meanwhile. */
  async run(request: LambdaRequest, onOutput: OnOutput, signal: AbortSignal): Promise<LambdaResult> {
    const { dispatcher, clock, statistics } = this.deps;
    const askedAt = clock.monotonic();
    let place: Place;
    try {
      place = await dispatcher.enter(request, signal);
    } catch (error) {
      if (toNexusError(error).code === 'resource_exhausted') statistics.refused += 1;
      throw error;
    }
    try {
      const queuedMs = clock.monotonic() - askedAt;
      const result = await this.#runAt(place, request, onOutput, signal);
      statistics.note(result.reason, clock.monotonic() - askedAt);
      return { ...result, node: place.node.name, queuedMs };
    } finally {
      place.release();
    }
  }

  isRunning(sandbox: Sandbox): boolean {
    return this.#running.has(sandbox);
  }

  async #runAt(
    place: Place,
    request: LambdaRequest,
    onOutput: OnOutput,
    signal: AbortSignal,
  ): Promise<Omit<LambdaResult, 'node' | 'queuedMs'>> {
    const { clock, outputBytes } = this.deps;
    for (let attempt = 1; ; attempt += 1) {
      const { sandbox, warm } = await this.#sandbox(place.node.id, request, signal);
      const watchdog = new Watchdog(sandbox, { timeoutMs: request.timeoutMs, outputBytes }, onOutput, signal);
      try {
        const startedAt = clock.monotonic();
        if (!(await hasStarted(sandbox.start(request, watchdog.output), attempt))) continue;
        watchdog.arm(clock);
        const { exitCode, peakMemoryBytes, reason, interruption, result } = await watchdog.verdict();
        if (interruption !== undefined) throw interrupted(interruption, place.node.name, request);
        return { exitCode, peakMemoryBytes, reason, executionTimeMs: clock.monotonic() - startedAt, warm, result };
      } finally {
        this.#running.delete(sandbox);
        await sandbox.destroy().catch(() => undefined);
      }
    }
  }

  async #sandbox(
    node: NodeId,
    { memoryBytes }: LambdaRequest,
    signal: AbortSignal,
  ): Promise<{ sandbox: Sandbox; warm: boolean }> {
    const { pool, residents, statistics, refill } = this.deps;
    // Running from the turn on in which it is there: what does not run is not waited for when the node is drained.
    const claim = (sandbox: Sandbox): void => void this.#running.add(sandbox);
    const warm = pool.take(node);
    if (warm !== undefined) claim(warm);
    refill();
    if (warm !== undefined) {
      statistics.poolHits += 1;
      return { sandbox: warm, warm: true };
    }
    statistics.poolMisses += 1;
    return { sandbox: await residents.create(node, { memoryBytes }, signal, claim), warm: false };
  }
}

/** False: the sandbox had ended before it was given anything, and another one may be tried. */
async function hasStarted(starting: Promise<void>, attempt: number): Promise<boolean> {
  try {
    await starting;
    return true;
  } catch (error) {
    if (toNexusError(error).code !== 'unavailable' || attempt === ATTEMPTS) throw error;
    return false;
  }
}

function interrupted(by: Interruption, node: string, { memoryBytes }: LambdaRequest): NexusError {
  const limit = `${memoryBytes / MIB} MB`;
  const message = {
    node: `node ${node} went away while the code ran; run it again`,
    node_memory: `node ${node} ran out of memory before the code reached its limit of ${limit}; run it again`,
    runtime: 'the sandboxes were restarted while the code ran; run it again',
  }[by];
  const advice: Advice[] = by === 'node_memory' ? [{ key: 'add-memory', node }] : [];
  return new NexusError('unavailable', message, {}, { advice });
}
