/** Makes a spare the node that somebody asks for. Its record is in the store already, Creating and in the spare's slot. */
import type { UndoStack } from '../../../shared/async/undo.js';
import { identityOf } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import {
  HEAR_AGENT,
  listenForAgent,
  newStarting,
  STORE_RUNNING,
  writeAgentConfig,
  writeNames,
  type Starting,
} from '../life/bring-up.js';
import { release } from '../life/create.js';
import { runSteps, type Steps, type StepTime } from '../life/steps.js';
import { eraseFromHost } from '../life/take-down.js';
import { removeNote } from './notes.js';
import type { Spare } from './prepare.js';

interface Taking extends Starting {
  readonly undo: UndoStack;
  readonly credentials: string;
}

export const TAKE_STEPS: Steps<Taking> = [
  {
    // From now on the store alone tells whose the slot is.
    name: 'forget-spare',
    do: ({ context, node }) => removeNote(context.settings, node.id),
    undo: {
      'remove the node from the host': async ({ context, node }) => {
        await eraseFromHost(context, node);
        // Of a slot that is free, a note would take away what the next node has there.
        await removeNote(context.settings, node.id);
      },
      'release the reservation': ({ context, node, undo }) => release(context, node, undo),
    },
  },
  {
    name: 'write-configuration',
    do: async (taking) => {
      listenForAgent(taking);
      const { context, node, hosting, credentials } = taking;
      await writeAgentConfig(context, node, hosting, credentials);
    },
  },
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
  STORE_RUNNING,
];

export async function takeSpare(
  context: NodeContext,
  node: NodeRecord,
  spare: Spare,
  undo: UndoStack,
  signal: AbortSignal,
): Promise<readonly StepTime[]> {
  const { clock, log } = context;
  const { credentials } = spare;
  const taking: Taking = { ...newStarting(context, node, signal), identity: identityOf(spare.node), undo, credentials };
  return await runSteps('take', TAKE_STEPS, taking, { undo, clock, log, about: { node: node.name } });
}
