/**
 * Takes a node's container off the host: asks the agent to finish, ends what does not, and waits until the volume is
 * let go. Every part is idempotent, so that a controller that died in the middle simply does it again.
 */
import { rm } from 'node:fs/promises';
import { toNexusError } from '../../../shared/errors.js';
import { UndoStack } from '../../../shared/async/undo.js';
import { isAlive } from '../../host/process-identity.js';
import type { Hosting } from '../../hosting/port.js';
import { identityOf, volumePlaceOf } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import { removeLogs } from '../watch/log-bounds.js';
import { nodeRunDir } from '../paths.js';
import { runSteps, type Step } from './steps.js';

const DEATH_POLL_MS = 5;
/** For the agent, when others have used up the grace: it has to answer and to close its files. */
const LEAST_AGENT_GRACE_MS = 1000;
/** After an agent has said that it will end. */
const EXIT_SLACK_MS = 1000;

/**
 * Ends all that runs on the node: sandboxes and commands have `graceMs` to end by their own will, and the agent what they
 * leave of it; true when the agent has ended. Commands first, because the end of the agent, which is the child of the
 * container's first process, is that of everything in it.
 */
export async function askToEnd(context: NodeContext, node: NodeRecord, graceMs: number): Promise<boolean> {
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
  // Whole ms: the message takes no others.
  const left = Math.ceil(Math.max(LEAST_AGENT_GRACE_MS, endsAt - clock.monotonic()));
  try {
    await bus.request(node.id, { shutdown: { graceMs: left } }, left);
  } catch (error) {
    log.info({ node: node.name, said: toNexusError(error).message }, 'the agent does not answer; ending it');
    return false;
  }
  const deadline = clock.monotonic() + left + EXIT_SLACK_MS;
  while (isAlive(identity)) {
    if (clock.monotonic() > deadline) return false;
    await clock.sleep(DEATH_POLL_MS);
  }
  return true;
}

interface Leaving {
  readonly context: NodeContext;
  readonly node: NodeRecord;
  readonly hosting: Hosting;
}

/** Container, link and runtime folder go; volume and reservation stay. */
export const DISMANTLE_STEPS: readonly Step<Leaving>[] = [
  { name: 'send-guests-away', do: ({ context, node }) => context.guests.leave(node.id, 0) },
  { name: 'remove-container', do: ({ node, hosting }) => hosting.runtime.remove(node.id) },
  { name: 'remove-link', do: ({ node, hosting }) => hosting.network.detach(node.hosting.slot) },
  {
    name: 'release-volume',
    do: async ({ node, hosting }) => {
      await hosting.volumes.waitReleased(volumePlaceOf(node));
      await hosting.logs.settle(hosting.logOf(node), true);
    },
  },
  {
    name: 'remove-folder',
    do: ({ context, node }) => rm(nodeRunDir(context.settings, node.id), { recursive: true, force: true }),
  },
];

/** The record goes last, so that a cut-off removal is known and finished later. */
export const REMOVE_STEPS: readonly Step<Leaving>[] = [
  { name: 'remove-volume', do: removeVolume },
  { name: 'forget-replicas', do: ({ context, node }) => context.files.forgetNode(node.id) },
  { name: 'forget-node', do: ({ context, node }) => context.registry.remove(node.id) },
];

async function removeVolume({ context, node, hosting }: Leaving): Promise<void> {
  await hosting.volumes.remove(volumePlaceOf(node));
  await removeLogs(context.settings, node.id);
}

export const dismantle = (context: NodeContext, node: NodeRecord): Promise<void> =>
  takeDown('dismantle', DISMANTLE_STEPS, context, node);

/** All of it but what the store knows. */
export async function eraseFromHost(context: NodeContext, node: NodeRecord): Promise<void> {
  await dismantle(context, node);
  await removeVolume({ context, node, hosting: context.hostings.of(node) });
}

/** Everything of the node goes. */
export async function erase(context: NodeContext, node: NodeRecord): Promise<void> {
  await dismantle(context, node);
  await takeDown('remove', REMOVE_STEPS, context, node);
}

/** Nothing of it is undone: what was cut off goes on at the next start. */
async function takeDown(
  list: string,
  steps: readonly Step<Leaving>[],
  context: NodeContext,
  node: NodeRecord,
): Promise<void> {
  const { clock, log } = context;
  const undo = new UndoStack(log);
  await runSteps(
    list,
    steps,
    { context, node, hosting: context.hostings.of(node) },
    { undo, clock, log, about: { node: node.name } },
  );
}
