/**
 * The verbs of a node, serialized by one lock per node: a second caller waits and finds the state that the first left.
 * Concurrent starts are limited, because a machine that starts everything at once starts nothing in time.
 */
import { notice, type Message } from '../../shared/advice/advice.js';
import { KeyedMutex, Limit } from '../../shared/async/turns.js';
import { NexusError, toNexusError } from '../../shared/errors.js';
import { failpoint } from '../../shared/async/failpoint.js';
import type { NodeId } from '../../shared/ids.js';
import { MIB } from '../../shared/limits.js';
import { UndoStack } from '../../shared/async/undo.js';
import { ended } from '../hosting/record.js';
import type { ExecHandle, ExecSpec } from '../hosting/runtime.js';
import type { FileRecord, NodeRecord } from '../store/port/store.js';
import { isReadable } from '../../shared/volume-state.js';
import { bringUp } from './life/bring-up.js';
import { unconfirmedOn } from './confirm-copies.js';
import type { NodeContext } from './context.js';
import { createNode, makeNode, reserveNode, startedText, type CreateNodeRequest } from './life/create.js';
import type { StepTime } from './life/steps.js';
import type { Spare } from './spare/prepare.js';
import { SpareNodes } from './spare/spares.js';
import { takeSpare } from './spare/take.js';
import { isListening, isWaiting, notUp, type NodeStatus } from './state.js';
import { askToEnd, dismantle, erase, eraseFromHost } from './life/take-down.js';
import { assertMayEnd, conditionOf } from './watch/volume-condition.js';

/** Starting is mostly processor work: a few at a time keep every core busy without starving the running agents. */
const CONCURRENT_STARTS = 4;
/** Removing waits mostly for the kernel. */
const CONCURRENT_STOPS = 8;

export class NodeService {
  readonly #locks = new KeyedMutex<NodeId>();
  /** Nodes that a failed verb left between two states, with the reason. */
  readonly #cutOff = new Map<NodeId, string>();
  /** Outcomes of starts that the store failed to record. */
  readonly #unstored = new Map<NodeId, StartOutcome>();
  readonly #starts = new Limit(CONCURRENT_STARTS);
  readonly #stops = new Limit(CONCURRENT_STOPS);
  /** Set while the cluster ends: suspended nodes must not be started as if their start had been put off. */
  #isEnding = false;

  readonly spares: SpareNodes;

  constructor(readonly context: NodeContext) {
    this.spares = new SpareNodes(context, () => this.#starts.isBusy);
  }

  /** Code besides: unavailable while something that all nodes need is away. */
  async create(request: CreateNodeRequest, signal: AbortSignal): Promise<NodeRecord> {
    this.context.causes.assertServed();
    const spare = this.spares.take(request);
    if (spare !== undefined) return await this.#createOf(spare, request, signal);
    await this.spares.makeRoom();
    const reserved = await reserveNode(this.context, request);
    const { node } = reserved;
    const make = (undo: UndoStack): Promise<readonly StepTime[]> => makeNode(this.context, node, undo, signal);
    const made = await this.#locked(node.id, () => this.#starts.run(() => createNode(this.context, reserved, make)));
    this.spares.learn(request);
    return made;
  }

  /** Not among the starts, unless the spare is of no use: its container runs. */
  async #createOf(spare: Spare, request: CreateNodeRequest, signal: AbortSignal): Promise<NodeRecord> {
    const reserved = await reserveNode(this.context, request, spare.node).catch((refusal: unknown) => {
      this.spares.putBack(spare, refusal);
      throw refusal;
    });
    const { node } = reserved;
    const make = async (undo: UndoStack): Promise<readonly StepTime[]> =>
      (await takeSpare(this.context, node, spare, undo, signal)) ??
      (await this.#starts.run(() => makeNode(this.context, node, undo, signal)));
    return await this.#locked(node.id, () => createNode(this.context, reserved, make));
  }

  /**
   * Codes: failed_precondition unless the node is Stopped or Failed; a running one is a success. unavailable while
   * something that all nodes need is away. cancelled: `signal` came first, and the node is Stopped.
   */
  start(reference: string, signal: AbortSignal): Promise<NodeRecord> {
    return this.#onNode(reference, async (node) => {
      if (node.status === 'Running') return node;
      this.context.causes.assertServed();
      return await this.#startLocked(node, signal, 'stopped');
    });
  }

  stop(reference: string, graceMs: number): Promise<NodeRecord> {
    return this.#onNode(reference, async (node) => {
      if (node.status === 'Stopped') return await this.context.registry.update(node.id, { desired: 'stopped' });
      return await this.#stopLocked(node, graceMs, 'stopped');
    });
  }

  /** `signal` only counts until the restart begins: stopping half-way could take down a node that was serving. */
  restart(reference: string, signal: AbortSignal): Promise<NodeRecord> {
    return this.#onNode(reference, (node) => {
      signal.throwIfAborted();
      return this.#restartLocked(node);
    });
  }

  /** Restarts if `isWanted` still holds once the lock is acquired; calls `tell` before it begins. */
  async restartIf(id: NodeId, isWanted: () => boolean, tell: () => Promise<void>): Promise<void> {
    await this.#locked(id, async () => {
      const node = this.context.registry.get(id);
      if (node === undefined || !isListening(node.status) || !isWanted()) return;
      await tell();
      await this.#restartLocked(node);
    });
  }

  /** Not aborted when the caller leaves or the controller ends; stop and start have timeouts of their own. */
  async #restartLocked(node: NodeRecord): Promise<NodeRecord> {
    // Check before stopping: a node that serves without the bus must not be replaced by one that can't start.
    this.context.causes.assertServed();
    if (isListening(node.status)) assertMayEnd(node.name, conditionOf(this.context.registry.agent(node.id)));
    const grace = this.context.settings.nodeStopGraceMs;
    const stopped =
      node.status === 'Stopped' || node.status === 'Failed' ? node : await this.#stopLocked(node, grace, 'running');
    return await this.#startLocked(stopped, new AbortController().signal);
  }

  /** Starts a node whose start was put off; does nothing if it no longer waits. */
  async startWaiting(id: NodeId, signal: AbortSignal): Promise<void> {
    await this.#locked(id, async () => {
      const node = this.context.registry.get(id);
      if (node !== undefined && isWaiting(node) && !this.#isEnding) await this.#startLocked(node, signal);
    });
  }

  /** Stops a node because the cluster ends, so that the next start runs it again. */
  suspend(node: NodeRecord): Promise<NodeRecord> {
    this.#isEnding = true;
    return this.#onNode(node.id, async (current) => {
      if (current.status === 'Stopped') return current;
      return await this.#stopLocked(current, this.context.settings.nodeStopGraceMs, current.desired);
    });
  }

  /** Code: failed_precondition when files would be lost and `force` is not set. */
  async remove(reference: string, force: boolean): Promise<{ node: NodeRecord; lostFiles: readonly FileRecord[] }> {
    let lostFiles: readonly FileRecord[] = [];
    const removed = await this.#onNode(reference, async (node) => {
      const files = await this.context.files.filesOnlyOn(node.id, this.#holders());
      lostFiles = files;
      if (files.length > 0 && !force) throw wouldLose(node, files);
      if (!force) await this.#assertCopiesElsewhere(node);
      await this.context.registry.move(node.id, 'Removing', '', { desired: 'removed' });
      failpoint('remove/marked');
      await this.finishRemoval(this.context.registry.expect(node.id));
      // Everybody can read events of nodes, so this one has no file names; the owners get those (file.lost).
      const lost = files.length === 0 ? '' : `, and with it parts of ${files.length} file(s)`;
      await this.context.events.append('node.removed', node.name, `node ${node.name} was removed${lost}`);
      return node;
    });
    return { node: removed, lostFiles };
  }

  /**
   * Removes a node because the whole cluster goes, store included. Failures of the store (the disk may be full, and
   * `down --purge` is the way to free it) are logged and ignored.
   */
  purge(reference: string): Promise<void> {
    return this.#onNode(reference, async (node) => {
      const { registry, log } = this.context;
      try {
        if (node.status !== 'Removing') await registry.move(node.id, 'Removing', '', { desired: 'removed' });
      } catch (error) {
        log.warn({ err: error, node: node.name }, 'its removal could not be stored; it is removed all the same');
      }
      await this.#stops.run(async () => {
        await askToEnd(this.context, node, REMOVAL_GRACE_MS, true);
        await eraseFromHost(this.context, node);
      });
      registry.forget(node.id);
      await this.context.events.append('node.removed', node.name, `node ${node.name} was removed`);
    });
  }

  /** Asks the other holders for the copies that the catalogue lists. Code: failed_precondition (not all confirmed). */
  async #assertCopiesElsewhere(node: NodeRecord): Promise<void> {
    const { chunks, files, silent } = await unconfirmedOn(this.context, node.id, this.#holders());
    if (chunks === 0) return;
    const why = silent.length === 0 ? '' : ` (${silent.slice(0, 3).join('; ')})`;
    throw new NexusError(
      'failed_precondition',
      `${chunks} chunk(s) on node ${node.name} have other copies that their nodes do not confirm now${why}; try again when no node is in trouble`,
      { files },
      { advice: { key: 'drain-first', node: node.name } },
    );
  }

  /** Nodes whose copies count when another node goes: not those that may never come back, or whose volume fails. */
  #holders(): NodeId[] {
    const away: readonly NodeStatus[] = ['Lost', 'Failed', 'Removing'];
    const { registry } = this.context;
    const nodes = registry
      .list()
      .filter((node) => !away.includes(node.status) && isReadable(conditionOf(registry.agent(node.id)).state));
    return nodes.map((node) => node.id);
  }

  /** The caller holds the lock, or the node is not visible to anybody else yet. */
  async finishRemoval(node: NodeRecord): Promise<void> {
    await this.#stops.run(async () => {
      await askToEnd(this.context, node, REMOVAL_GRACE_MS, true);
      await erase(this.context, node);
    });
  }

  setCordoned(reference: string, cordoned: boolean): Promise<NodeRecord> {
    return this.#onNode(reference, async (node) => {
      // Uncordoning a node also cancels its drain.
      const after = await this.context.registry.update(
        node.id,
        cordoned ? { cordoned } : { cordoned, draining: false },
      );
      const verb = cordoned ? 'cordoned' : 'uncordoned';
      if (node.cordoned !== cordoned)
        await this.context.events.append(`node.${verb}`, node.name, `node ${node.name} was ${verb}`);
      return after;
    });
  }

  /** Also cordons the node, so that moved copies don't come back. Repair moves them. */
  startDrain(reference: string): Promise<NodeRecord> {
    return this.#onNode(reference, async (node) => {
      if (node.draining) return node;
      const after = await this.context.registry.update(node.id, { cordoned: true, draining: true });
      await this.context.events.append('node.draining', node.name, `the copies on node ${node.name} are moved off`);
      return after;
    });
  }

  resize(
    reference: string,
    limits: Partial<Pick<NodeRecord, 'memoryMb' | 'cpuWeight' | 'pidsLimit'>>,
  ): Promise<NodeRecord> {
    return this.#onNode(reference, async (node) => {
      const wanted = { ...node, ...limits };
      if (wanted.memoryMb * MIB > this.context.hostMemoryBytes) {
        throw new NexusError(
          'resource_exhausted',
          `${wanted.memoryMb}M of memory is more than this machine has; choose a smaller --mem`,
        );
      }
      const setLimits = ({ memoryMb, cpuWeight, pidsLimit }: NodeRecord): Promise<void> =>
        isListening(node.status)
          ? this.context.hostings
              .of(node)
              .runtime.update(node.id, { memoryBytes: memoryMb * MIB, cpuWeight, pids: pidsLimit })
          : Promise.resolve();
      await setLimits(wanted);
      const after = await this.context.registry.update(node.id, limits).catch(async (error: unknown) => {
        // The call fails, so the new limits must not stay in force.
        await setLimits(node).catch((left: unknown) => {
          this.context.log.error({ err: left, node: node.name }, 'the earlier limits of a node could not be set again');
        });
        throw error;
      });
      const changes = changedLimits(node, after);
      if (changes.length > 0) {
        await this.context.events.append(
          'node.resized',
          node.name,
          `node ${node.name} was resized: ${changes.join(', ')}`,
        );
      }
      return after;
    });
  }

  /** Not under the lock: commands run concurrently and must not delay a stop. */
  exec(reference: string, spec: ExecSpec): Promise<ExecHandle> {
    const node = this.context.registry.resolve(reference);
    if (!isListening(node.status)) {
      throw notUp(node.name, node.status);
    }
    return this.context.hostings.of(node).runtime.exec(node.id, spec);
  }

  /**
   * Handles a container that ended by itself: removes the rest of it, keeps the volume, and sets the node to Failed.
   */
  async fail(id: NodeId, reason: Message): Promise<void> {
    await this.#locked(id, async () => {
      const node = this.context.registry.get(id);
      if (node === undefined || !isListening(node.status)) return;
      await this.context.registry.move(id, 'Failed', reason, { hosting: ended(node.hosting) });
      await dismantle(this.context, node);
    });
  }

  /** Runs with the node's lock held, for reconcile. */
  exclusively<T>(id: NodeId, work: () => Promise<T>): Promise<T> {
    return this.#locked(id, work);
  }

  async startLocked(node: NodeRecord, signal: AbortSignal): Promise<NodeRecord> {
    return await this.#startLocked(node, signal);
  }

  /** Undoes a start that `signal` aborts: the node is Stopped again, and `afterCancel` becomes its desired state. */
  async #startLocked(
    node: NodeRecord,
    signal: AbortSignal,
    afterCancel: NodeRecord['desired'] = 'running',
  ): Promise<NodeRecord> {
    const { registry, events, causes, clock, log } = this.context;
    return await this.#starts.run(async () => {
      signal.throwIfAborted();
      const beganAt = clock.monotonic();
      this.#unstored.delete(node.id);
      const creating = await registry.move(node.id, 'Creating', '', { desired: 'running' });
      try {
        await using undo = new UndoStack(this.context.log);
        const times = await bringUp(this.context, creating, undo, signal);
        undo.commit();
        await events.append('node.started', creating.name, startedText(creating, times));
        return registry.expect(node.id);
      } catch (error) {
        const failure = toNexusError(error).during(`start node ${node.name}`);
        log.error({ err: error, node: node.name }, 'a node could not be started');
        // Report the failure itself; `finishCutOff` brings the node to rest.
        const unstored =
          (outcome: StartOutcome) =>
          (refusal: unknown): void => {
            this.#unstored.set(node.id, outcome);
            log.error({ err: refusal, node: node.name }, 'the state of a node could not be stored');
          };
        if (signal.aborted && failure.code === 'cancelled') {
          const why = `its start was cancelled: ${toNexusError(signal.reason).message}`;
          const givenUp = { status: 'Stopped', reason: why, desired: afterCancel } as const;
          await registry.move(node.id, 'Stopped', why, { desired: afterCancel }).catch(unstored(givenUp));
          throw failure;
        }
        // If the machine has run out of something, above all disk, the failure itself says so.
        const isUsedUp = failure.code === 'resource_exhausted';
        const cause = isUsedUp ? undefined : await causes.explain(beganAt).catch(() => undefined);
        if (!isUsedUp && cause === undefined) {
          const failed = { status: 'Failed', reason: failure, desired: 'running' } as const;
          await registry.move(node.id, 'Failed', failure).catch(unstored(failed));
          throw failure;
        }
        // Not the node's fault: the reconcile loop starts it once the cause has gone, also after a restart.
        const putOff = waitingFor(node, cause?.problem ?? failure.message);
        const reason = notice(putOff, ...(isUsedUp ? failure.advice : []));
        const waiting = { status: 'Stopped', reason, desired: 'running' } as const;
        await registry.move(node.id, 'Stopped', reason).catch(unstored(waiting));
        if (isUsedUp) throw failure.saying(putOff);
        throw new NexusError(
          'unavailable',
          `${failure.message}: ${putOff}`,
          {},
          { cause: error, advice: failure.advice },
        );
      }
    });
  }

  async #stopLocked(node: NodeRecord, graceMs: number, desired: NodeRecord['desired']): Promise<NodeRecord> {
    const { registry } = this.context;
    await registry.move(node.id, 'Stopping', '', { desired });
    return await this.#stops.run(async () => {
      await askToEnd(this.context, node, graceMs);
      await dismantle(this.context, node);
      return await registry.move(node.id, 'Stopped', '', { hosting: ended(node.hosting) });
    });
  }

  async #onNode<T>(reference: string, work: (node: NodeRecord) => Promise<T>): Promise<T> {
    const { id, name } = this.context.registry.resolve(reference);
    // Read again under the lock: the node may have been removed or moved meanwhile.
    return await this.#locked(id, () => {
      const node = this.context.registry.get(id);
      if (node === undefined) throw new NexusError('not_found', `node ${name} is gone: another call has removed it`);
      return work(node);
    });
  }

  async #locked<T>(id: NodeId, work: () => Promise<T>): Promise<T> {
    return await this.#locks.run(id, async () => {
      try {
        return await work();
      } catch (error) {
        const isFirst = !this.#cutOff.has(id);
        if (isFirst && isBetween(this.context.registry.get(id)?.status))
          this.#cutOff.set(id, this.context.events.words(toNexusError(error)));
        throw error;
      }
    });
  }

  /**
   * Brings nodes to rest that a failed verb left between two states, because the store failed to record the next state
   * (full disk) or undoing failed. The watch calls it repeatedly.
   */
  async finishCutOff(): Promise<void> {
    const { registry, log } = this.context;
    for (const id of await registry.readUncertain()) {
      if (!this.#cutOff.has(id)) this.#cutOff.set(id, 'whether its state was stored was not known');
    }
    for (const [id, why] of [...this.#cutOff]) {
      if (this.#locks.isLocked(id)) continue;
      this.#cutOff.delete(id);
      await this.#locked(id, () => this.#finish(id, why)).catch((error: unknown) => {
        // Keep the first reason: later failures only delay the node's coming to rest.
        if (this.#cutOff.has(id)) this.#cutOff.set(id, why);
        log.warn(
          { node: id, said: toNexusError(error).message },
          'an interrupted change of a node could not be finished; trying again',
        );
      });
    }
  }

  async #finish(id: NodeId, why: string): Promise<void> {
    const { registry, events } = this.context;
    const node = registry.get(id);
    if (node === undefined || !isBetween(node.status)) {
      this.#unstored.delete(id);
      return;
    }
    if (node.status === 'Removing' || (node.status === 'Creating' && node.receiptKey === '')) {
      await this.finishRemoval(node);
      await events.append('node.removed', node.name, `what was left of node ${node.name} was removed`);
      return;
    }
    await dismantle(this.context, node);
    const patch = { hosting: ended(node.hosting) };
    const outcome = node.status === 'Creating' ? this.#unstored.get(id) : undefined;
    // Only a start that failed by itself leads to Failed; one that was cut off before is repeated.
    const { status, reason, desired } = outcome ?? {
      status: 'Stopped',
      reason: node.desired === 'running' ? waitingFor(node, `its start was interrupted: ${why}`) : '',
      desired: node.desired,
    };
    await registry.move(id, status, reason, { ...patch, desired });
    this.#unstored.delete(id);
  }
}

interface StartOutcome {
  readonly status: 'Stopped' | 'Failed';
  readonly reason: Message;
  readonly desired: NodeRecord['desired'];
}

/** Reason in the status of a node that `isWaiting`. */
const waitingFor = ({ name }: NodeRecord, problem: string): string =>
  `${problem}; node ${name} starts automatically when that is over`;

/** Between two states: a verb is working on the node, or was cut off. */
const isBetween = (status: NodeStatus | undefined): boolean =>
  status === 'Creating' || status === 'Stopping' || status === 'Removing';

/** Grace for the agent of a removed node: short, as its data is deleted anyway. */
const REMOVAL_GRACE_MS = 2000;

function changedLimits(before: NodeRecord, after: NodeRecord): string[] {
  const limits = [
    ['memory', `${before.memoryMb} MB`, `${after.memoryMb} MB`],
    ['cpu weight', String(before.cpuWeight), String(after.cpuWeight)],
    ['pids', String(before.pidsLimit), String(after.pidsLimit)],
  ] as const;
  return limits.filter(([, old, now]) => old !== now).map(([name, old, now]) => `${name} ${old} -> ${now}`);
}

function wouldLose(node: NodeRecord, files: readonly FileRecord[]): NexusError {
  const names = files.slice(0, 3).map((file) => `${file.name} (${file.id})`);
  const shown = names.join(', ') + (files.length > 3 ? `, and ${files.length - 3} more` : '');
  return new NexusError(
    'failed_precondition',
    `node ${node.name} has the only copies of chunks of ${files.length} file(s) (${shown})`,
    { files: files.slice(0, 100).map((file) => file.id) },
    { advice: { key: 'drain-first', node: node.name } },
  );
}
