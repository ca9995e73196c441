/**
 * Brings host and store together after a start of the controller, whatever it was doing when it ended: adopts living
 * nodes, finishes what was cut off, takes down what nobody wants. Only names of this instance are ever touched.
 */
import { outcome } from '../../../shared/async/wait.js';
import { isAlive } from '../../host/process-identity.js';
import { isNodeId, type NodeId } from '../../../shared/ids.js';
import { SLOWEST_HEARTBEAT_MS } from '../../../shared/limits.js';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ended, identityOf, wasStartedInThisBoot } from '../../hosting/record.js';
import type { NodeRecord } from '../../store/port/store.js';
import type { NodeContext } from '../context.js';
import type { NodeService } from '../service.js';
import { dismantle } from '../life/take-down.js';
import { limitsAt } from './liveness.js';
import { intervalFor } from './pace.js';

/** Plans the work of a restarted controller on a node. Pure: depends on its record and on what the host shows. */
export type BootPlan = 'adopt' | 'erase' | 'finish-stop' | 'start' | 'fail' | 'leave';

export function planBoot(node: NodeRecord, isRunning: boolean, isSameBoot: boolean): BootPlan {
  switch (node.status) {
    case 'Removing':
      return 'erase';
    case 'Creating':
      // Undo a creation that nobody was told about; repeat a later start.
      return node.receiptKey === '' ? 'erase' : 'start';
    case 'Stopping':
      return node.desired === 'running' ? 'start' : 'finish-stop';
    case 'Running':
    case 'Suspect':
    case 'Lost':
      if (isRunning) return 'adopt';
      return isSameBoot ? 'fail' : 'start';
    case 'Stopped':
      return node.desired === 'running' ? 'start' : 'leave';
    case 'Failed':
      return 'leave';
  }
}

export async function reconcileAtBoot(service: NodeService, signal: AbortSignal): Promise<void> {
  const { registry, log } = service.context;
  const nodes = registry.list();
  await service.spares.sweep();
  await removeLeftovers(service, new Set(nodes.map((node) => node.id)));
  const results = await Promise.allSettled(
    nodes.map(async (node) => {
      const plan = planBoot(node, isAlive(identityOf(node)), wasStartedInThisBoot(node));
      log.info({ node: node.name, status: node.status, plan }, 'reconciling');
      await service.exclusively(node.id, () => apply(service, node, plan, signal));
    }),
  );
  results.forEach((result, index) => {
    // The node is Failed, with the reason, or still in the state that the next start tries again.
    if (result.status === 'rejected')
      log.error({ err: result.reason as Error, node: nodes[index]?.name }, 'reconcile failed');
  });
}

async function apply(service: NodeService, node: NodeRecord, plan: BootPlan, signal: AbortSignal): Promise<void> {
  const { context } = service;
  switch (plan) {
    case 'adopt':
      await endOrphans(context, node);
      await heardOrAssumed(context, node, signal);
      return;
    case 'erase':
      await service.finishRemoval(node);
      await context.events.append(
        'node.removed',
        node.name,
        `the interrupted creation of node ${node.name} was undone; the node is gone`,
      );
      return;
    case 'finish-stop':
      await dismantle(context, node);
      await context.registry.move(node.id, 'Stopped', '', { hosting: ended(node.hosting) });
      return;
    case 'fail':
      await context.registry.move(node.id, 'Failed', 'its container ended while the controller was away', {
        hosting: ended(node.hosting),
      });
      await dismantle(context, node);
      return;
    case 'start':
      await dismantle(context, node);
      // Move through Stopped: a dead container has no direct transition to a new one.
      await context.registry.update(node.id, { status: 'Stopped', hosting: ended(node.hosting) });
      await service.startLocked(context.registry.expect(node.id), signal);
      return;
    case 'leave':
      await dismantle(context, node);
  }
}

/**
 * Ends commands whose input and output were lost with an earlier controller. Nobody can read or interrupt them any
 * more, and their callers were told that they are cut off.
 */
async function endOrphans({ hostings, events, log }: NodeContext, node: NodeRecord): Promise<void> {
  const { runtime } = hostings.of(node);
  try {
    for (const command of await runtime.endCommands(node.id, ORPHAN_GRACE_MS, 'orphaned')) {
      await events.append(
        'node.command-ended',
        node.name,
        `a command on node ${node.name} was ended, because the controller that held it had ended: ${command.slice(0, MOST_SHOWN)}`,
      );
    }
  } catch (error) {
    log.warn({ err: error, node: node.name }, 'commands of an earlier controller could not be ended');
  }
}

/** Short, because the controller's start waits for them. */
const ORPHAN_GRACE_MS = 5000;
const MOST_SHOWN = 200;

/**
 * Resolves when the agent has been heard (its free room is then known), or has been silent for so long that the watch
 * judges it. Otherwise a caller who needs room right after the start would find nodes that seem full.
 */
async function heardOrAssumed(context: NodeContext, node: NodeRecord, signal: AbortSignal): Promise<void> {
  const { registry, hostings } = context;
  // As slow as the controller before may have wanted it.
  const intervalMs = intervalFor(registry.list().length, SLOWEST_HEARTBEAT_MS);
  if (registry.assumeHeard(node.id, intervalMs)) return;
  const start = (resolve: () => void): (() => void) => registry.onNextHeartbeat(node.id, resolve);
  const { suspectAfterMs } = limitsAt(intervalMs, hostings.of(node).liveness);
  await outcome(start, { signal, ms: suspectAfterMs }).catch(() => undefined);
}

/**
 * Removes containers, links and runtime folders of this instance that belong to no node in the store, and no volumes.
 * One that can't be removed does not delay the nodes: the next start finds it again.
 */
async function removeLeftovers(service: NodeService, known: ReadonlySet<NodeId>): Promise<void> {
  const { hostings, registry, settings, log } = service.context;
  const remove = async (what: string, work: () => Promise<void>): Promise<void> => {
    log.warn({ what }, 'removing leftovers of no known node');
    await work().catch((error: unknown) => {
      log.error({ err: error, what }, 'it could not be removed; the next start tries again');
    });
  };
  const slots = new Set(registry.list().map(({ hosting }) => hosting.slot));
  for (const { runtime, network } of hostings.all) {
    for (const id of await runtime.list()) {
      if (!known.has(id)) await remove(`container ${id}`, () => runtime.remove(id));
    }
    for (const slot of await network.list()) {
      if (!slots.has(slot)) await remove(`link ${slot}`, () => network.detach(slot));
    }
  }
  const folders: string[] = await readdir(settings.runDir).catch(() => []);
  for (const name of folders.filter(isNodeId)) {
    const folder = join(settings.runDir, name);
    if (!known.has(name)) await remove(folder, () => rm(folder, { recursive: true, force: true }));
  }
}
