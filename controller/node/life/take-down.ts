/**
 * Takes a node's container off the host: asks the agent to end, kills it if it does not, and waits until the volume is
 * released. Every part is idempotent: after a crash of the controller it is simply repeated.
 */
import { rm } from 'node:fs/promises';
import { toNexusError } from '../../../shared/errors.js';
import { UndoStack } from '../../../shared/async/undo.js';
import { until } from '../../../shared/async/wait.js';
import { isAlive } from '../../host/process-identity.js';
import type { Hosting } from '../../hosting/port.js';
import { identityOf, volumePlaceOf } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import { removeLogs } from '../watch/log-bounds.js';
import { nodeRunDir } from '../paths.js';
import { runSteps, type Steps } from './steps.js';

const DEATH_POLL_MS = 5;
/** Minimum for the agent, if others used up the grace: it has to answer and close its files. */
const LEAST_AGENT_GRACE_MS = 1000;
/** Extra time for an agent that has confirmed to end. */
const EXIT_SLACK_MS = 1000;

/**
 * Ends everything that runs on the node. Sandboxes and commands have `graceMs` to end by themselves, and the agent the
 * rest of that time. Commands come first, because when the agent ends, so does the container's first process, its
 * parent, and with it everything in the container. Returns whether the agent has ended.
 *
 * Of a node that `goesForGood` an agent without transfers is left to be killed: what it would close in order is deleted
 * anyway, and an end in order takes it as much processor time as all the rest of a removal takes.
 */
export async function askToEnd(
  context: NodeContext,
  node: NodeRecord,
  graceMs: number,
  goesForGood = false,
): Promise<boolean> {
  const { clock, log, bus, guests } = context;
  const { runtime } = context.hostings.of(node);
  const identity = identityOf(node);
  if (!isAlive(identity)) return true;
  const endsAt = clock.monotonic() + graceMs;
  const [, commands] = await Promise.allSettled([
    guests.leave(node.id, graceMs),
    runtime.endCommands(node.id, graceMs),
  ]);
  if (commands.status === 'rejected') log.warn({ node: node.name, err: commands.reason as Error }, 'its commands');
  // Whole ms: the message has no fractions.
  const left = Math.ceil(Math.max(LEAST_AGENT_GRACE_MS, endsAt - clock.monotonic()));
  try {
    const { idle } = await bus.request(node.id, { shutdown: { graceMs: left } }, left);
    if (goesForGood && idle) return false;
  } catch (error) {
    log.info({ node: node.name, said: toNexusError(error).message }, 'the agent does not answer; ending it');
    return false;
  }
  return await until(() => !isAlive(identity), { everyMs: DEATH_POLL_MS, withinMs: left + EXIT_SLACK_MS, clock });
}

interface Leaving {
  readonly context: NodeContext;
  readonly node: NodeRecord;
  readonly hosting: Hosting;
}

/** Removes container, link and runtime folder; keeps volume and reservation. */
export const DISMANTLE_STEPS: Steps<Leaving> = [
  { name: 'send-guests-away', do: ({ context, node }) => context.guests.leave(node.id, 0) },
  { name: 'remove-container', do: ({ node, hosting }) => hosting.runtime.remove(node.id) },
  [
    { name: 'remove-link', do: ({ node, hosting }) => hosting.network.detach(node.hosting.slot) },
    {
      name: 'release-volume',
      do: async ({ node, hosting }) => {
        await hosting.volumes.waitReleased(volumePlaceOf(node));
        await hosting.logs.settle(hosting.logOf(node), true);
      },
    },
  ],
  {
    name: 'remove-folder',
    do: async ({ context, node, hosting }) => {
      await rm(nodeRunDir(context.settings, node.id), { recursive: true, force: true });
      await hosting.release(node);
    },
  },
];

/** The record goes last, so that a removal that was cut off is found and finished later. */
export const REMOVE_STEPS: Steps<Leaving> = [
  [
    { name: 'remove-volume', do: ({ node, hosting }) => hosting.volumes.remove(volumePlaceOf(node)) },
    { name: 'remove-log', do: ({ context, node }) => removeLogs(context.settings, node.id) },
    { name: 'forget-replicas', do: ({ context, node }) => context.files.forgetNode(node.id) },
  ],
  { name: 'forget-node', do: ({ context, node }) => context.registry.remove(node.id) },
];

export const dismantle = (context: NodeContext, node: NodeRecord): Promise<void> =>
  takeDown('dismantle', DISMANTLE_STEPS, context, node);

/** Removes the node from the host, but not from the store. */
export async function eraseFromHost(context: NodeContext, node: NodeRecord): Promise<void> {
  await dismantle(context, node);
  await context.hostings.of(node).volumes.remove(volumePlaceOf(node));
  await removeLogs(context.settings, node.id);
}

/** Removes everything of the node. */
export async function erase(context: NodeContext, node: NodeRecord): Promise<void> {
  await dismantle(context, node);
  await takeDown('remove', REMOVE_STEPS, context, node);
}

/** Nothing is undone on failure: the next start continues. */
async function takeDown(list: string, steps: Steps<Leaving>, context: NodeContext, node: NodeRecord): Promise<void> {
  const { clock, log } = context;
  const undo = new UndoStack(log);
  await runSteps(
    list,
    steps,
    { context, node, hosting: context.hostings.of(node) },
    { undo, clock, log, about: { node: node.name } },
  );
}
