/**
 * Watches what all nodes depend on: the bus, by sending a message through it and back, and the network, by the kernel's
 * state. While one of them is broken, the silence of agents says nothing about nodes: the cause is reported once, nodes
 * are not judged, and work that waits for it restarts afterwards. Repairs both as far as they are ours.
 */
import type { Clock } from '../../shared/async/clock.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import type { Logger } from '../../shared/log.js';
import type { AgentBus } from '../bus/port.js';
import type { EventLog } from '../events/log.js';
import type { NetworkFabric } from '../hosting/network.js';

export type CauseKind = 'bus' | 'network';

export interface SharedCause {
  readonly kind: CauseKind;
  /** The problem in a few words; contains no secrets. */
  readonly problem: string;
  /** Automatic repair under way, or advice. */
  readonly remedy: string;
  /** Ms since 1970. */
  readonly since: number;
}

export interface CauseDeps {
  readonly bus: AgentBus;
  readonly network: NetworkFabric;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Logger;
  /** Restarts the count of agents' silence, as it is not their fault, with `settleMs` added. */
  readonly forgive: (settleMs: number) => void;
}

/** A round trip takes less than a millisecond; beyond this, messages of agents may have been missed. */
export const PULSE_TIMEOUT_MS = 1000;
export const PULSE_PERIOD_MS = 500;
export const NETWORK_PERIOD_MS = 1000;
/** Shorter gaps come from a busy machine, and need no action. */
const NAMED_AFTER_MS = 2500;
/** A server of ours that passes no message on for this long hangs. */
const HUNG_AFTER_MS = 10_000;
/** Agents reconnect every half second, and need longer on a busy machine. */
const SETTLE_MS = 5000;

export class SharedCauses {
  readonly #causes = new Map<CauseKind, SharedCause>();
  #answeredAt: number;
  #isAnswering = true;
  #replacedAt = -Infinity;
  #pulse: Promise<void> | undefined;
  #lastReplacement = '';
  #isNetworkLetGo = false;
  readonly #networkLooks = new Set<Promise<unknown>>();
  /** The cause that ended last. */
  #last: { readonly cause: SharedCause; readonly endedAt: number } | undefined;

  constructor(private readonly deps: CauseDeps) {
    this.#answeredAt = deps.clock.monotonic();
  }

  /** The cause to report. A broken network explains an unreachable bus, so it comes first. */
  get current(): SharedCause | undefined {
    return this.#causes.get('network') ?? this.#causes.get('bus');
  }

  isUp(kind: CauseKind): boolean {
    return !this.#causes.has(kind);
  }

  /** Whether an agent's silence counts: otherwise the bus may be to blame. */
  get silenceCounts(): boolean {
    return this.#isAnswering && this.#causes.size === 0;
  }

  /** Rejects work that needs an agent while a cause lasts. Code: unavailable, with the problem. */
  assertServed(): void {
    const { current } = this;
    if (current === undefined) return;
    throw new NexusError('unavailable', `${current.problem}; ${current.remedy}; try again when it is back`);
  }

  /**
   * Checks at once, and returns the cause of a failure of work that began at this monotonic time. The cause may be
   * over.
   */
  async explain(beganAt: number): Promise<SharedCause | undefined> {
    await Promise.all([this.lookAtBus(), this.lookAtNetwork([])]);
    const last = this.#last;
    return this.current ?? (last !== undefined && last.endedAt >= beganAt ? last.cause : undefined);
  }

  /** Called every PULSE_PERIOD_MS; concurrent calls share one pulse. Never rejects. */
  lookAtBus(): Promise<void> {
    return (this.#pulse ??= this.#lookAtBus().finally(() => {
      this.#pulse = undefined;
    }));
  }

  async #lookAtBus(): Promise<void> {
    const { bus, clock, forgive } = this.deps;
    const isAnswering = await bus.pulse(PULSE_TIMEOUT_MS);
    const now = clock.monotonic();
    if (isAnswering) {
      if (!this.#isAnswering) forgive(SETTLE_MS);
      this.#isAnswering = true;
      this.#answeredAt = now;
      await this.#mended('bus', 'the bus answers again');
      return;
    }
    this.#isAnswering = false;
    const silentForMs = now - this.#answeredAt;
    if (silentForMs < NAMED_AFTER_MS) return;
    await this.#found('bus', 'the bus does not answer', this.#busRemedy());
    // Replacing a server that is unreachable because of the network would not help.
    const isOurTurn = silentForMs >= HUNG_AFTER_MS && this.#causes.get('network') === undefined;
    if (isOurTurn && now - this.#replacedAt >= HUNG_AFTER_MS) await this.#replace(now);
  }

  #busRemedy(): string {
    if (this.deps.bus.serverPid === 0 && this.#lastReplacement === '')
      return `uploads and reads go on; the external server at ${this.deps.bus.url} is at fault: check it; nodes reconnect by themselves`;
    return `uploads and reads go on; ${this.#lastReplacement === '' ? `it is replaced after ${HUNG_AFTER_MS / 1000} s, and nodes reconnect by themselves` : this.#lastReplacement}`;
  }

  async #replace(now: number): Promise<void> {
    const { bus, events } = this.deps;
    this.#replacedAt = now;
    if (!(await bus.replaceServer())) return;
    this.#lastReplacement = 'its server was replaced; if that does not help, see nats.d/nats.log in the run folder';
    await events.append('bus.replaced', 'bus', 'the server of the bus hung and was killed; a new one is started');
  }

  /**
   * Called every NETWORK_PERIOD_MS. Restores the shared network, and returns the slots whose own link is disconnected.
   * Does nothing after `letNetworkGo`. Never rejects.
   */
  lookAtNetwork(slots: readonly number[]): Promise<readonly number[]> {
    if (this.#isNetworkLetGo) return Promise.resolve([]);
    const look = this.#lookAtNetwork(slots).finally(() => this.#networkLooks.delete(look));
    this.#networkLooks.add(look);
    return look;
  }

  /** Stops restoring the network, which is about to be removed. Waits for checks under way. */
  async letNetworkGo(): Promise<void> {
    this.#isNetworkLetGo = true;
    await Promise.all(this.#networkLooks);
  }

  async #lookAtNetwork(slots: readonly number[]): Promise<readonly number[]> {
    const { network, log, forgive } = this.deps;
    try {
      const { problem, loose } = await network.inspect(slots);
      if (problem === undefined) {
        await this.#mended('network', 'the network of the nodes works again');
        return loose;
      }
      await this.#found('network', problem, 'it is restored automatically');
      await network.prepare();
      forgive(SETTLE_MS);
      // Finds links that the outage disconnected.
      const after = await network.inspect(slots);
      if (after.problem === undefined)
        await this.#mended('network', `the network works again: ${problem}, and was restored`);
      return after.loose;
    } catch (error) {
      const { message } = toNexusError(error);
      log.error({ err: error }, 'the network cannot be restored; trying again');
      await this.#found('network', 'the network of the nodes is broken', `it cannot be restored: ${message}`);
      return [];
    }
  }

  async #found(kind: CauseKind, problem: string, remedy: string): Promise<void> {
    const { clock, events } = this.deps;
    const known = this.#causes.get(kind);
    this.#causes.set(kind, { kind, problem, remedy, since: known?.since ?? clock.now() });
    if (known !== undefined) return;
    // The bus gets an event of its own only if the network does not explain its silence.
    if (kind === 'bus' && this.#causes.has('network')) return;
    await events.append(`${kind}.down`, kind, `${problem}; ${remedy}`);
  }

  async #mended(kind: CauseKind, message: string): Promise<void> {
    const cause = this.#causes.get(kind);
    if (cause === undefined) return;
    this.#causes.delete(kind);
    this.#last = { cause, endedAt: this.deps.clock.monotonic() };
    if (kind === 'bus') this.#lastReplacement = '';
    this.deps.forgive(SETTLE_MS);
    await this.deps.events.append(`${kind}.up`, kind, message);
  }
}
