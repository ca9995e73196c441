/**
 * Watches the volumes of living agents: reports when one fails and when it recovers, and restarts the node where that
 * repairs it. A restart unmounts the file system, and the node's first stage checks it (repairing only what is safe)
 * before it mounts it again. Attempts are few and at growing intervals; after the last one the warning stays. A full
 * host disk is not the volume's fault: however often it fills up, volumes are repaired once it has room.
 */
import { toNexusError } from '../../../shared/errors.js';
import type { NodeId } from '../../../shared/ids.js';
import { isReadable, VOLUME_OK, type VolumeCondition, type VolumeState } from '../../../shared/volume-state.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeService } from '../service.js';
import { hasFigures } from '../state.js';
import { conditionOf } from './volume-condition.js';

/** Wait before each attempt; there are no further attempts. */
export const MEND_AFTER_MS: readonly number[] = [3000, 15_000, 60_000, 300_000];
/** After this long in good condition the next failure counts as a new one. */
const FORGIVEN_AFTER_MS = 600_000;
/** A host disk that was full this shortly before a volume failed, or later, explains the failure. */
const EXPLAINED_FOR_MS = 5000;
/** Attempts counted as made when a full disk explains the failure: never given up, but slower than the first time. */
const ATTEMPTS_WHEN_EXPLAINED = 1;
/** Minimum between two events of a node: an agent whose reports keep changing must not fill the event log. */
const EVENT_PERIOD_MS = 5000;

/** States that a restart can repair. With a hanging disk it would only keep the node from ending. */
const isMendable = (state: VolumeState): boolean => state === 'read-only' || state === 'failing';

interface Watched {
  announced: VolumeCondition;
  announcedAt: number;
  /** `since`: monotonic ms of the last change of `state`, or of the last attempt to repair it. */
  state: VolumeState;
  since: number;
  attempts: number;
  isMending: boolean;
}

export class VolumeWatch {
  readonly #watched = new Map<NodeId, Watched>();
  readonly #mending = new Set<Promise<void>>();
  #hostHasRoom = true;
  /** Monotonic ms at which the disk of the host was last seen without room. */
  #fullAt = -Infinity;

  constructor(private readonly service: NodeService) {}

  /** Called by the daemon's loop. */
  async tick(): Promise<void> {
    const { registry } = this.service.context;
    const nodes = registry.list();
    const known = new Set(nodes.map(({ id }) => id));
    for (const id of this.#watched.keys()) if (!known.has(id)) this.#watched.delete(id);
    await this.#lookAtHost();
    for (const node of nodes) if (hasFigures(node.status)) await this.#look(node);
  }

  /** Waits for what runs. */
  async settled(): Promise<void> {
    await Promise.all(this.#mending);
  }

  async #look(node: NodeRecord): Promise<void> {
    const { registry, clock } = this.service.context;
    const agent = registry.agent(node.id);
    if (agent?.report === undefined) return;
    const condition = conditionOf(agent);
    const now = clock.monotonic();
    const watched = this.#watchedOf(node.id, now);
    if (watched.state !== condition.state) Object.assign(watched, { state: condition.state, since: now });
    if (condition.state === 'ok' && now - watched.since >= FORGIVEN_AFTER_MS) watched.attempts = 0;
    if (condition.state !== 'ok' && this.#fullAt >= watched.since - EXPLAINED_FOR_MS)
      watched.attempts = Math.min(watched.attempts, ATTEMPTS_WHEN_EXPLAINED);
    await this.#announce(node, watched, condition, now);
    // While a shared cause silences agents, a restart would only take the node away.
    if (this.service.context.causes.current !== undefined) return;
    if (watched.isMending || !isMendable(condition.state) || node.desired !== 'running') return;
    const wait = MEND_AFTER_MS[watched.attempts];
    // On a full host disk the next write would fail the same way.
    if (wait === undefined || now - watched.since < wait || !this.#hostHasRoom) return;
    // Restart one node at a time while copies can still be read; the next tick checks again.
    if (isReadable(condition.state) && this.#mending.size > 0) return;
    this.#begin(node, watched);
  }

  #watchedOf(id: NodeId, now: number): Watched {
    const found = this.#watched.get(id) ?? {
      announced: VOLUME_OK,
      announcedAt: -Infinity,
      state: 'ok',
      since: now,
      attempts: 0,
      isMending: false,
    };
    this.#watched.set(id, found);
    return found;
  }

  async #announce(node: NodeRecord, watched: Watched, condition: VolumeCondition, now: number): Promise<void> {
    if (watched.announced.state === condition.state || now - watched.announcedAt < EVENT_PERIOD_MS) return;
    watched.announced = condition;
    watched.announcedAt = now;
    const { state, reason } = condition;
    const { events, log } = this.service.context;
    log.warn({ node: node.name, state, reason }, 'the condition of a volume changed');
    if (state === 'ok') {
      await events.append('node.volume_ok', node.name, `the volume of node ${node.name} works again`);
      return;
    }
    const rest = isReadable(state) ? '' : '; its copies count as unavailable';
    await events.append('node.volume_bad', node.name, `the volume of node ${node.name} is ${state}: ${reason}${rest}`);
  }

  async #lookAtHost(): Promise<void> {
    const { hostings, clock } = this.service.context;
    const { volumes } = hostings.own;
    this.#hostHasRoom = ((await volumes.room().catch(() => undefined))?.freeBytes ?? 0) > 0;
    if (!this.#hostHasRoom) this.#fullAt = clock.monotonic();
  }

  #begin(node: NodeRecord, watched: Watched): void {
    watched.attempts += 1;
    watched.isMending = true;
    const mending = this.#mend(node, watched).finally(() => {
      watched.isMending = false;
      // Restart the clock: from here on the volume is bad despite the attempt.
      watched.since = this.service.context.clock.monotonic();
      this.#mending.delete(mending);
    });
    this.#mending.add(mending);
  }

  async #mend(node: NodeRecord, watched: Watched): Promise<void> {
    const { context } = this.service;
    const isStillBad = (): boolean => isMendable(conditionOf(context.registry.agent(node.id)).state);
    try {
      const attempt = `attempt ${watched.attempts} of ${MEND_AFTER_MS.length}`;
      const why = `the volume of node ${node.name} is ${watched.state}; restarting the node, which checks the volume and mounts it again (${attempt})`;
      const tell = (): Promise<void> => context.events.append('node.mending', node.name, why);
      await this.service.restartIf(node.id, isStillBad, tell);
    } catch (error) {
      context.log.error({ node: node.name, err: error }, 'a volume could not be repaired');
      const failure = toNexusError(error).during(`the volume of node ${node.name} could not be repaired`);
      await context.events.append('node.volume_bad', node.name, failure);
    }
  }
}
