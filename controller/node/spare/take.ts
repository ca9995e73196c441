/**
 * Makes a spare the node that somebody asks for. Its record is in the store already, Creating and in the spare's slot, and
 * stays there if the spare turns out to be of no use: whoever asked gets an ordinary node in its place.
 */
import type { UndoStack } from '../../../shared/async/undo.js';
import { toNexusError } from '../../../shared/errors.js';
import { identityOf } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import { configure, HEAR_AGENT, newStarting, STORE_RUNNING, writeNames, type Starting } from '../life/bring-up.js';
import { release } from '../life/create.js';
import { runSteps, type Steps, type StepTime } from '../life/steps.js';
import { eraseFromHost } from '../life/take-down.js';
import { removeNote } from './notes.js';
import type { Spare } from './prepare.js';

/**
 * An agent that waits answers within 0.1 s. One that is stopped or hangs counts as alive until it is asked, and the
 * ordinary way takes less than this.
 */
const LEAST_ANSWER_MS = 3000;
/** Of the wait for the agent of an ordinary start, which is set longer where everything takes longer. */
const ANSWER_SHARE = 0.1;

const answerWithinMs = ({ nodeStartTimeoutMs }: NodeContext['settings']): number =>
  Math.min(nodeStartTimeoutMs, Math.max(LEAST_ANSWER_MS, nodeStartTimeoutMs * ANSWER_SHARE));

interface Taking extends Starting {
  readonly undo: UndoStack;
}

const GIVE_STEPS: Steps<Taking> = [
  {
    // From now on the store alone tells whose the slot is.
    name: 'forget-spare',
    do: ({ context, node }) => removeNote(context.settings, node.id),
    undo: {
      'remove the node from the host': removeFromHost,
      'release the reservation': ({ context, node, undo }) => release(context, node, undo),
    },
  },
  configure(answerWithinMs),
  [
    // First: if the spare has ended, it tells so in the better words.
    HEAR_AGENT,
    {
      name: 'assign',
      do: async ({ context, node, hosting, identity }) => {
        await writeNames(context, node);
        await hosting.runtime.assign(identity, await hosting.containerSpec(node));
      },
    },
  ],
];

export const TAKE_STEPS: Steps<Taking> = [...GIVE_STEPS, STORE_RUNNING];

/** Undefined if the spare does not become a node in time: nothing of it is left on the host then, nor on `undo`. */
export async function takeSpare(
  context: NodeContext,
  node: NodeRecord,
  spare: Spare,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<readonly StepTime[] | undefined> {
  const { clock, log } = context;
  const { credentials } = spare;
  const taking: Taking = { ...newStarting(context, node, signal), identity: identityOf(spare.node), credentials, undo };
  const deps = { undo, clock, log, about: { node: node.name } };
  let given: readonly StepTime[];
  try {
    given = await runSteps('take', GIVE_STEPS, taking, deps);
  } catch (error) {
    signal.throwIfAborted();
    const said = toNexusError(error).message;
    log.warn({ node: node.name, spare: node.id, said }, 'a spare was of no use; making the node without it');
    await removeFromHost(taking);
    undo.commit();
    return undefined;
  }
  return [...given, ...(await runSteps('take', [STORE_RUNNING], taking, deps))];
}

async function removeFromHost({ context, node }: Taking): Promise<void> {
  await eraseFromHost(context, node);
  // Of a slot that is free, a note would take away what the next node has there.
  await removeNote(context.settings, node.id);
}
