/**
 * `node create`: stores the intent, then makes volume, container, link and agent; a failure at any step undoes
 * everything.
 */
import { randomUUID } from 'node:crypto';
import { notice } from '../../../shared/advice/advice.js';
import { NexusError, toNexusError } from '../../../shared/errors.js';
import { newNodeId, type NodeId } from '../../../shared/ids.js';
import { GIB, MIB } from '../../../shared/limits.js';
import { UndoStack } from '../../../shared/async/undo.js';
import type { Place } from '../../hosting/port.js';
import { ended, volumePlaceOf } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import { noRoom } from '../../hosting/volume-errors.js';
import { bringUp } from './bring-up.js';
import type { NodeContext } from '../context.js';
import { removeLogs } from '../watch/log-bounds.js';
import { runSteps, stepsInWords, type Step, type StepTime } from './steps.js';

/** The edge's schema has checked form and range; the capacity of the host is checked here. */
export type CreateNodeRequest = Pick<
  NodeRecord,
  'name' | 'memoryMb' | 'cpuWeight' | 'pidsLimit' | 'storageBytes' | 'image' | 'labels'
>;

interface Reserving {
  readonly context: NodeContext;
  readonly request: CreateNodeRequest;
  /** What the node is made of; undefined: of nothing. */
  readonly spare: NodeRecord | undefined;
  node: NodeRecord | undefined;
}

/** The intent is stored before any effect. Its inverse is that of the first step with one, for a node that is locked. */
export const RESERVE_STEPS: readonly Step<Reserving>[] = [
  {
    name: 'reserve',
    do: async (reserving) => {
      reserving.node = await reserve(reserving);
    },
  },
];

export interface Reserved {
  readonly node: NodeRecord;
  readonly times: readonly StepTime[];
}

/** Reserves the node's name and slot, for `createNode`. Of a spare it takes over id and slot. */
export async function reserveNode(
  context: NodeContext,
  request: CreateNodeRequest,
  spare?: NodeRecord,
): Promise<Reserved> {
  const { clock, log } = context;
  const reserving: Reserving = { context, request, spare, node: undefined };
  const deps = { undo: new UndoStack(log), clock, log, about: { node: request.name } };
  const times = await runSteps('create', RESERVE_STEPS, reserving, deps);
  const { node } = reserving;
  if (node === undefined) throw new NexusError('internal', 'the store reserved no node');
  return { node, times };
}

async function reserve({ context, request, spare }: Reserving): Promise<NodeRecord> {
  await assertHostCanBear(context, request);
  const { registry, hostings } = context;
  if (spare !== undefined) {
    const { id, ip, hosting } = spare;
    return await registry.adopt(newRecord(context, id, request, { ip, hosting: ended(hosting) }));
  }
  const id = newNodeId();
  return await registry.reserve(hostings.own.slots, (slot) => newRecordIn(context, id, request, slot));
}

/** The record of a node that nothing has been made of. */
export const newRecordIn = (context: NodeContext, id: NodeId, request: CreateNodeRequest, slot: number): NodeRecord =>
  newRecord(context, id, request, context.hostings.own.placeIn(slot, randomUUID()));

function newRecord({ clock }: NodeContext, id: NodeId, request: CreateNodeRequest, place: Place): NodeRecord {
  return {
    id,
    name: request.name,
    ...place,
    status: 'Creating',
    statusReason: '',
    desired: 'running',
    memoryMb: request.memoryMb,
    cpuWeight: request.cpuWeight,
    pidsLimit: request.pidsLimit,
    storageBytes: request.storageBytes,
    image: request.image,
    labels: request.labels,
    cordoned: false,
    draining: false,
    receiptKey: '',
    createdAt: clock.now(),
  };
}

interface Making {
  readonly context: NodeContext;
  readonly node: NodeRecord;
  readonly undo: UndoStack;
  readonly signal: AbortSignal;
}

/** Steps before a node's first start. */
export const CREATE_STEPS: readonly Step<Making>[] = [
  {
    name: 'make-volume',
    do: async ({ context, node, signal }) => {
      const { id: nodeId, storageBytes: sizeBytes, hosting } = node;
      await context.hostings.of(node).volumes.create({ nodeId, sizeBytes, uuid: hosting.volumeUuid }, signal);
    },
    undo: {
      'remove the volume': ({ context, node }) => context.hostings.of(node).volumes.remove(volumePlaceOf(node)),
      'remove the log': ({ context, node }) => removeLogs(context.settings, node.id),
      'release the reservation': ({ context, node, undo }) => release(context, node, undo),
    },
  },
];

/** Makes a reserved node of nothing, for `createNode`. */
export async function makeNode(
  context: NodeContext,
  node: NodeRecord,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<readonly StepTime[]> {
  const { clock, log } = context;
  const deps = { undo, clock, log, about: { node: node.name } };
  const made = await runSteps('create', CREATE_STEPS, { context, node, undo, signal }, deps);
  return [...made, ...(await bringUp(context, node, undo, signal))];
}

/**
 * `make` does the work; its inverses end with the release of the reservation. Codes besides the ports' own: cancelled. A
 * failure leaves nothing, not even the reservation. Only if undoing fails does the node stay, as Removing.
 */
export async function createNode(
  context: NodeContext,
  { node, times: reserved }: Reserved,
  make: (undo: UndoStack) => Promise<readonly StepTime[]>,
): Promise<NodeRecord> {
  const { registry, log } = context;
  try {
    await using undo = new UndoStack(log);
    const times = [...reserved, ...(await make(undo))];
    undo.commit();
    await context.events.append('node.started', node.name, startedText(node, times));
    return registry.expect(node.id);
  } catch (error) {
    const failure = toNexusError(error).during(`create node ${node.name}`);
    if (registry.get(node.id) !== undefined) {
      const kept = failure.saying(`${failure.message}; the rest of the node is removed as soon as possible`);
      await context.events.append('node.failed', node.name, kept);
      throw kept;
    }
    await context.events.append(
      'node.removed',
      node.name,
      failure.saying(`${failure.message}; nothing of the node is left`),
    );
    throw failure;
  }
}

/** Text of the event `node.started`. */
export const startedText = ({ name }: NodeRecord, times: readonly StepTime[]): string =>
  `node ${name} was started: ${stepsInWords(times)}`;

/**
 * Keeps the record if undoing failed, because otherwise the rest would belong to no node, and the next node would get
 * its slot. `node rm` or the next start of the controller removes the rest and the record.
 */
export async function release({ registry }: NodeContext, node: NodeRecord, undo: UndoStack): Promise<void> {
  if (!undo.hasFailed) {
    await registry.remove(node.id);
    return;
  }
  const problem = 'its creation failed and could not be undone completely';
  const reason = notice(problem, { key: 'remove-node-again', node: node.name });
  await registry.move(node.id, 'Removing', reason, { desired: 'removed' });
}

async function assertHostCanBear(context: NodeContext, request: CreateNodeRequest): Promise<void> {
  await context.hostings.own.rootfsOf(request.image);
  if (request.memoryMb * MIB > context.hostMemoryBytes) {
    const has = `${(context.hostMemoryBytes / GIB).toFixed(1)}G`;
    throw new NexusError(
      'resource_exhausted',
      `${request.memoryMb}M of memory is more than this machine has (${has})`,
      {},
      { advice: { key: 'choose-less-memory' } },
    );
  }
  const room = await context.hostings.own.volumes.room();
  if (request.storageBytes > room.freeBytes) throw noRoom(request.storageBytes, room);
}
