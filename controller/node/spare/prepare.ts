/**
 * Makes a spare: a node with volume, container, link and an agent that has been loaded, and waits to be told whose it is.
 * It has neither credentials nor keys. Its note comes before its first effect.
 */
import { NexusError } from '../../../shared/errors.js';
import { newNodeId } from '../../../shared/ids.js';
import { DEFAULT_CPU_WEIGHT } from '../../../shared/limits.js';
import { UndoStack } from '../../../shared/async/undo.js';
import { until } from '../../../shared/async/wait.js';
import { isAlive } from '../../host/process-identity.js';
import { started, volumePlaceOf } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import { CLAIM_STEPS, CONTAINER_STEPS, newStarting, type Starting } from '../life/bring-up.js';
import { newRecordIn } from '../life/create.js';
import { runSteps, type Steps } from '../life/steps.js';
import { removeLogs } from '../watch/log-bounds.js';
import { removeNote, writeNote } from './notes.js';
import type { SpareShape } from './plan.js';

const WAITING_POLL_MS = 10;

/** A started node that nobody has asked for yet. */
export interface Spare {
  /** What the record of a node made of it takes over, with the identity of its first process. */
  readonly node: NodeRecord;
  /** For its agent, which gets them with the rest of its configuration. Here alone until then. */
  readonly credentials: string;
}

interface Preparing extends Starting {
  readonly undo: UndoStack;
}

export const PREPARE_STEPS: Steps<Preparing> = [
  {
    name: 'note-spare',
    do: ({ context, node }) => writeNote(context.settings, node),
    undo: { 'forget the spare': forget },
  },
  {
    name: 'make-volume',
    do: async ({ node: { id: nodeId, storageBytes: sizeBytes, hosting: place }, hosting, signal }) => {
      await hosting.volumes.create({ nodeId, sizeBytes, uuid: place.volumeUuid }, signal);
    },
    undo: {
      'remove the volume': ({ node, hosting }) => hosting.volumes.remove(volumePlaceOf(node)),
      'remove the log': ({ context, node }) => removeLogs(context.settings, node.id),
    },
  },
  ...CLAIM_STEPS,
  CONTAINER_STEPS,
  { name: 'await-agent', do: awaitAgent },
];

/** On failure nothing of it is left but, if undoing fails, its note. */
export async function prepareSpare(context: NodeContext, shape: SpareShape, signal: AbortSignal): Promise<Spare> {
  const { registry, hostings, clock, log } = context;
  const slot = registry.holdSlot(hostings.own.slots);
  await using undo = new UndoStack(log);
  const asked = { ...shape, name: `spare-${slot}`, cpuWeight: DEFAULT_CPU_WEIGHT, labels: {} };
  const node = newRecordIn(context, newNodeId(), asked, slot);
  const preparing: Preparing = { ...newStarting(context, node, signal), undo };
  await runSteps('prepare', PREPARE_STEPS, preparing, { undo, clock, log, about: { node: node.name } });
  undo.commit();
  const { node: made, identity, credentials } = preparing;
  return { node: { ...made, hosting: started(made.hosting, identity) }, credentials };
}

/** Without success of the other inverses the note and the slot stay: the next start of the controller removes the rest. */
async function forget({ context, node, undo }: Preparing): Promise<void> {
  if (undo.hasFailed) return;
  await removeNote(context.settings, node.id);
  context.registry.letSlotGo(node.hosting.slot);
}

async function awaitAgent({ context, node, hosting, identity, signal }: Preparing): Promise<void> {
  const isOver = (): boolean => !isAlive(identity) || hosting.runtime.isWaiting(identity);
  const bounds = { everyMs: WAITING_POLL_MS, withinMs: context.settings.nodeStartTimeoutMs, signal };
  const isInTime = await until(isOver, bounds);
  if (isInTime && isAlive(identity)) return;
  throw new NexusError(
    'failed_precondition',
    `the agent of ${node.name} ${isInTime ? 'ended' : 'was not loaded in time'}`,
  );
}
