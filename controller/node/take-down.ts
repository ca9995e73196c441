/**
 * Takes a node's container off the host: asks the agent to finish, ends what does not, and waits until the volume is
 * let go. Every part is idempotent, so that a controller that died in the middle simply does it again.
 */
import { rm } from 'node:fs/promises';
import { failpoint } from '../../shared/failpoint.js';
import { toNexusError } from '../../shared/errors.js';
import { isAlive } from '../host/process-identity.js';
import type { ProcessIdentity } from '../hosting/runtime.js';
import type { NodeRecord } from '../store/port.js';
import type { NodeContext } from './context.js';
import { removeLogs } from './log-bounds.js';
import { nodeLogPlace, nodeRunDir } from './paths.js';

export const identityOf = (node: NodeRecord): ProcessIdentity => ({ pid: node.pid, startTicks: node.pidStartTicks });

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
  const { clock, log, bus, guests, runtime } = context;
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

/** Container, link and runtime folder go; volume and reservation stay. */
export async function dismantle(context: NodeContext, node: NodeRecord): Promise<void> {
  const { runtime, network, volumes, settings, logs } = context;
  await context.guests.leave(node.id, 0);
  await runtime.remove(node.id);
  failpoint('take-down/container-removed');
  await network.detach(node.slot);
  failpoint('take-down/link-removed');
  await volumes.waitReleased(node.id, node.loopDevice);
  await logs.settle(nodeLogPlace(settings, node.id), true);
  await rm(nodeRunDir(settings, node.id), { recursive: true, force: true });
  failpoint('take-down/dismantled');
}

/** All of it but what the store knows. */
export async function eraseFromHost(context: NodeContext, node: NodeRecord): Promise<void> {
  await dismantle(context, node);
  await context.volumes.remove(node.id, node.loopDevice);
  failpoint('remove/volume-removed');
  await removeLogs(context.settings, node.id);
}

/** Everything of the node goes. The record is last, so that a cut-off removal is known and finished later. */
export async function erase(context: NodeContext, node: NodeRecord): Promise<void> {
  await eraseFromHost(context, node);
  await context.files.forgetNode(node.id);
  failpoint('remove/replicas-forgotten');
  await context.registry.remove(node.id);
  failpoint('remove/record-removed');
}
